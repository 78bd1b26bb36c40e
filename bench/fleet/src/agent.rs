//! One simulated agent: three streams on connections of their own, kept open as a real one does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hookplane_proto::agent::v1::command_service_client::CommandServiceClient;
use hookplane_proto::agent::v1::configuration_stream_request::Message as Said;
use hookplane_proto::agent::v1::enrolment_service_client::EnrolmentServiceClient;
use hookplane_proto::agent::v1::report_service_client::ReportServiceClient;
use hookplane_proto::agent::v1::{
    Ack, AgentHeartbeat, CommandStreamRequest, ConfigurationStreamRequest, EnrollRequest, Gauges,
    Held, Hello, ReportStreamRequest,
};
use hookplane_proto::capability;
use sha2::{Digest as _, Sha256};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, interval, sleep};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};
use tonic_types::StatusExt as _;

use super::wire::{self, Told};
use super::{Fault, say};

/// The same as of real agents.
const HEARTBEAT: Duration = Duration::from_secs(10);
const REPORT: Duration = Duration::from_secs(5);
const REDIAL: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));
const CALL: Duration = Duration::from_secs(10);

/// What the fleet did, over all agents.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) snapshots: AtomicU64,
    pub(crate) deltas: AtomicU64,
    pub(crate) refused_dials: AtomicU64,
}

/// What one agent holds, as others see it: the newest revision, and when it had it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) revision: u64,
    pub(crate) since: Instant,
    pub(crate) connected: bool,
}

pub(crate) struct Agent {
    name: String,
    credential: String,
    api: String,
    tally: Arc<Tally>,
    standing: watch::Sender<Standing>,
    held: Held,
}

impl Agent {
    /// Enrols an agent; it does nothing yet.
    pub(crate) async fn enrol(
        api: &str,
        join_token: &str,
        number: usize,
        tally: Arc<Tally>,
    ) -> Result<Self, Fault> {
        let name = format!("sim-{number:05}");
        let credential = format!("hpa_{}", hex::encode(Sha256::digest(&name)));
        let channel = dial(api).await?;
        let request = EnrollRequest {
            join_token: join_token.to_owned(),
            name: name.clone(),
            pool: "default".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            credential_hash: hex::encode(Sha256::digest(&credential)),
            store: 0,
        };
        EnrolmentServiceClient::new(channel).enroll(request).await?;
        let standing = Standing {
            revision: 0,
            since: Instant::now(),
            connected: false,
        };
        Ok(Self {
            name,
            credential,
            api: api.to_owned(),
            tally,
            standing: watch::Sender::new(standing),
            held: Held::default(),
        })
    }

    pub(crate) fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// Keeps its streams open for ever.
    pub(crate) async fn run(mut self) {
        let (api, credential) = (self.api.clone(), self.credential.clone());
        let commands = keep(|| commands(&api, &credential));
        let sequence = AtomicU64::new(0);
        let reports = keep(|| reports(&api, &credential, &sequence));
        let configuration = async {
            let mut wait = REDIAL.0;
            loop {
                let began = Instant::now();
                let ended = self.configuration().await;
                self.standing
                    .send_modify(|standing| standing.connected = false);
                let hint = self.explain(&ended);
                if began.elapsed() > Duration::from_secs(1) {
                    wait = REDIAL.0;
                }
                wait = pause(wait, hint).await;
            }
        };
        tokio::join!(commands, reports, configuration);
    }

    fn explain(&self, ended: &Status) -> Option<Duration> {
        self.tally.refused_dials.fetch_add(1, Ordering::Relaxed);
        if ended.code() != tonic::Code::Unavailable && ended.code() != tonic::Code::Unknown {
            say(&format!(
                "{}: {:?} {}",
                self.name,
                ended.code(),
                ended.message()
            ));
        }
        ended.get_details_retry_info()?.retry_delay
    }

    async fn configuration(&mut self) -> Status {
        match self.converse().await {
            Ok(()) => Status::unavailable("the stream ended"),
            Err(status) => status,
        }
    }

    async fn converse(&mut self) -> Result<(), Status> {
        let channel = dial(&self.api).await?;
        let (out, rest) = mpsc::channel(16);
        let hello = Said::Hello(Hello {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            capabilities: capability::all()
                .iter()
                .map(|one| (*one).to_owned())
                .collect(),
            held: (self.held.revision > 0).then(|| self.held.clone()),
        });
        tell(&out, hello).await?;
        let rest = ReceiverStream::new(rest);
        let mut told = wire::open::<Told>(channel, &self.credential, rest).await?;
        let mut beat = interval(HEARTBEAT);
        beat.reset();
        loop {
            tokio::select! {
                _ = beat.tick() => {
                    let held = Some(self.held.clone());
                    tell(&out, Said::Heartbeat(AgentHeartbeat { held, at: None })).await?;
                }
                message = told.message() => match message? {
                    Some(message) => self.take(message, &out).await?,
                    None => return Ok(()),
                }
            }
        }
    }

    async fn take(
        &mut self,
        told: Told,
        out: &mpsc::Sender<ConfigurationStreamRequest>,
    ) -> Result<(), Status> {
        let (nonce, held) = if let Some(delta) = told.delta {
            self.tally.deltas.fetch_add(1, Ordering::Relaxed);
            (Some(delta.nonce), delta.held)
        } else if let Some(chunk) = told.snapshot {
            if !chunk.last {
                return Ok(());
            }
            self.tally.snapshots.fetch_add(1, Ordering::Relaxed);
            (Some(chunk.nonce), chunk.held)
        } else if let Some(current) = told.current {
            (None, current.held)
        } else {
            return Ok(());
        };
        self.held = held.unwrap_or_default();
        if let Some(nonce) = nonce {
            let held = Some(self.held.clone());
            tell(out, Said::Ack(Ack { nonce, held })).await?;
        }
        self.standing.send_replace(Standing {
            revision: self.held.revision,
            since: Instant::now(),
            connected: true,
        });
        Ok(())
    }
}

async fn tell(out: &mpsc::Sender<ConfigurationStreamRequest>, message: Said) -> Result<(), Status> {
    let message = ConfigurationStreamRequest {
        message: Some(message),
    };
    let sent = out.send_timeout(message, CALL).await;
    sent.map_err(|_| Status::unavailable("nobody listens"))
}

/// A stream that only has to be there.
async fn keep<F: Future<Output = Status>>(mut session: impl FnMut() -> F) {
    let mut wait = REDIAL.0;
    loop {
        let began = Instant::now();
        let ended = session().await;
        if began.elapsed() > Duration::from_secs(1) {
            wait = REDIAL.0;
        }
        let hint = ended
            .get_details_retry_info()
            .and_then(|hint| hint.retry_delay);
        wait = pause(wait, hint).await;
    }
}

/// Full jitter under a ceiling that doubles, not before the hint.
async fn pause(ceiling: Duration, hint: Option<Duration>) -> Duration {
    let ceiling = (ceiling * 2).min(REDIAL.1);
    let spread = |room: Duration| room.mul_f64(rand::random::<f64>());
    let wait = REDIAL.0 + spread(ceiling - REDIAL.0);
    let hint = hint.unwrap_or_default();
    sleep(wait.max(hint + spread(hint))).await;
    ceiling
}

async fn commands(api: &str, credential: &str) -> Status {
    let session = async {
        let mut client = CommandServiceClient::new(dial(api).await?);
        let (_say, said) = mpsc::channel::<CommandStreamRequest>(1);
        let request = wire::with_credential(ReceiverStream::new(said), credential)?;
        let mut asked = client.stream(request).await?.into_inner();
        while asked.message().await?.is_some() {}
        Ok::<_, Status>(())
    };
    session
        .await
        .err()
        .unwrap_or_else(|| Status::unavailable("it ended"))
}

async fn reports(api: &str, credential: &str, sequence: &AtomicU64) -> Status {
    let session = async {
        let mut client = ReportServiceClient::new(dial(api).await?);
        let (say, said) = mpsc::channel::<ReportStreamRequest>(1);
        let request = wire::with_credential(ReceiverStream::new(said), credential)?;
        let mut counted = client.stream(request).await?.into_inner();
        // Not all in the same moment.
        sleep(REPORT.mul_f64(rand::random::<f64>())).await;
        let mut turn = interval(REPORT);
        loop {
            turn.tick().await;
            let sequence = sequence.fetch_add(1, Ordering::Relaxed) + 1;
            let report = ReportStreamRequest {
                sequence,
                gauges: Some(Gauges::default()),
                ..ReportStreamRequest::default()
            };
            let sent = say.send(report).await;
            sent.map_err(|_| Status::unavailable("nobody listens"))?;
            if counted.message().await?.is_none() {
                return Ok::<_, Status>(());
            }
        }
    };
    session
        .await
        .err()
        .unwrap_or_else(|| Status::unavailable("it ended"))
}

pub(crate) async fn dial(api: &str) -> Result<Channel, Status> {
    let endpoint = Endpoint::from_shared(api.to_owned());
    let endpoint = endpoint.map_err(|error| Status::internal(error.to_string()))?;
    endpoint
        .connect_timeout(CALL)
        .tcp_nodelay(true)
        .connect()
        .await
        .map_err(|error| Status::unavailable(error.to_string()))
}
