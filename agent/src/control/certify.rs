//! Certificates: asked for after enrolment, again before each ends, and when the control plane
//! refuses the one that is shown.
//!
//! Dials without a certificate: one that has expired must not stand in the way of the next. A
//! control plane that gives none is left alone for long; the agent goes on without.

use std::sync::Arc;
use std::time::Duration;

use hookplane_proto::agent::v1::CertifyRequest;
use hookplane_proto::agent::v1::certificate_service_client::CertificateServiceClient;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use super::papers::{Held, Papers};
use crate::causes::chain;
use crate::clock::SharedClock;
use crate::link::{Link, Pass, Redial, UnknownAgent, describe};
use crate::readiness::Readiness;

/// Until a control plane that gives no certificates is asked again: it may have been upgraded.
const NOT_GIVEN: Duration = Duration::from_secs(3_600);

pub(crate) struct Certifier {
    papers: Papers,
    link: Link,
    clock: SharedClock,
    readiness: Arc<Readiness>,
    /// Told once per change.
    told: String,
}

/// Why there is no new certificate.
enum Failed {
    /// The agent is not known (any more).
    Unknown,
    NotGiven,
    /// Nothing changes without a person.
    Refused(String),
    /// Worth trying again soon.
    Lost(String),
}

impl Certifier {
    pub(crate) fn new(
        papers: Papers,
        link: Link,
        clock: SharedClock,
        readiness: Arc<Readiness>,
    ) -> Self {
        let certifier = Self {
            papers,
            link,
            clock,
            readiness,
            told: String::new(),
        };
        if let Some(held) = certifier.papers.held()
            && let Err(error) = certifier
                .link
                .show(&held.certificate, certifier.papers.key())
        {
            tracing::warn!(
                error = chain(&error),
                "the certificate on disk is of no use"
            );
        }
        certifier
    }

    /// One try to have a certificate before the first stream is opened, unless one is held.
    /// `anew` when the agent has just enrolled, maybe with a control plane that did not give it.
    pub(crate) async fn prepare(&mut self, pass: &Pass, anew: bool) {
        let due = self.papers.rest(self.clock.now_millis(), 0.0).is_zero();
        if due || anew {
            // What went wrong shows again in `keep`.
            drop(self.ask(pass).await);
        }
    }

    /// Keeps a certificate in term until `stop`, or until the agent is unknown.
    pub(crate) async fn keep(
        &mut self,
        pass: &Pass,
        stop: &CancellationToken,
    ) -> Result<(), UnknownAgent> {
        let mut wait = self.link.redial();
        loop {
            let spread = self.link.fraction();
            let rest = self.papers.rest(self.clock.now_millis(), spread);
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(rest) => {}
                () = pass.refused() => {}
            }
            let asked = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                asked = self.ask(pass) => asked,
            };
            let pause = self.after(asked, &mut wait)?;
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(pause) => {}
            }
            // Of the certificate before; what is refused still will be refused again.
            pass.forget_refusals();
        }
    }

    /// How long to do nothing after a try, however it ended: who refuses a fresh certificate, too,
    /// must not be asked for another one at once.
    fn after(
        &mut self,
        asked: Result<(), Failed>,
        wait: &mut Redial,
    ) -> Result<Duration, UnknownAgent> {
        let slow = self.link.pace.refused_enrolment;
        let slow = slow.mul_f64(0.5 + self.link.fraction() / 2.0);
        let (why, pause) = match asked {
            Ok(()) => {
                wait.reset();
                self.told.clear();
                return Ok(slow);
            }
            Err(Failed::Unknown) => return Err(UnknownAgent),
            Err(Failed::NotGiven) => {
                tracing::debug!("the control plane gives no certificates");
                return Ok(NOT_GIVEN.mul_f64(0.5 + self.link.fraction() / 2.0));
            }
            Err(Failed::Refused(why)) => {
                self.readiness.warn("certificate_refused", why.clone());
                (why, slow)
            }
            Err(Failed::Lost(why)) => (why, wait.next()),
        };
        if why != self.told {
            tracing::warn!(error = why, "the agent has no new certificate");
            self.told = why;
        }
        Ok(pause)
    }

    async fn ask(&mut self, pass: &Pass) -> Result<(), Failed> {
        let request = self.papers.request().map_err(own)?;
        let channel = self.link.dial_bare().await.map_err(Failed::Lost)?;
        let mut client = CertificateServiceClient::new(channel);
        let asked = client.certify(pass.request(CertifyRequest { request }));
        let answer = match tokio::time::timeout(self.link.pace.call, asked).await {
            Err(_) => return Err(Failed::Lost("no answer in time".to_owned())),
            Ok(Ok(answer)) => answer.into_inner(),
            Ok(Err(status)) => {
                return Err(match status.code() {
                    Code::Unauthenticated => Failed::Unknown,
                    Code::Unimplemented => Failed::NotGiven,
                    Code::FailedPrecondition | Code::InvalidArgument | Code::PermissionDenied => {
                        Failed::Refused(describe(&status))
                    }
                    _ => Failed::Lost(describe(&status)),
                });
            }
        };
        let held = Held {
            certificate: answer.certificate,
            received_at: self.clock.now_millis(),
            valid_seconds: answer.valid_seconds,
        };
        let shown = self.link.show(&held.certificate, self.papers.key());
        shown.map_err(own)?;
        tracing::info!(
            valid_seconds = held.valid_seconds,
            "the agent has a new certificate"
        );
        // It works without the disk, too: after a restart another one is asked for.
        if let Err(error) = self.papers.keep(held) {
            let text = chain(&error);
            tracing::error!(error = text, "the certificate could not be kept");
            self.readiness.warn("certificate_not_kept", text);
        }
        Ok(())
    }
}

fn own(error: impl std::error::Error + 'static) -> Failed {
    Failed::Refused(chain(&error))
}
