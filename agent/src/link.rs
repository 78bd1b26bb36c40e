//! How the agent reaches its control plane: dialling, its credential, staying connected.
//!
//! Owns TLS, deadlines of dials and the jittered wait before the next one. Refuses
//! to know what the streams say and over which network they go. Each stream dials a connection of its own, so
//! that none can hold up another.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures::FutureExt as _;
use thiserror::Error;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use crate::causes::chain;
use crate::chance::{self, Draw};
use crate::settings::{Pace, Settings};

const KEEP_ALIVE: Duration = Duration::from_secs(10);
const KEEP_ALIVE_ANSWER: Duration = Duration::from_secs(20);
/// Whatever the control plane asks, an agent comes back after about so long.
const MOST_HINT: Duration = Duration::from_secs(60);

/// Dials the control plane. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Link {
    /// Without a certificate.
    endpoint: Endpoint,
    /// `None` where the control plane is reached in plain text.
    tls: Option<ClientTlsConfig>,
    /// With the certificate that is held, once there is one.
    certified: Arc<ArcSwapOption<Endpoint>>,
    network: Arc<dyn Network>,
    draw: Draw,
    pub(crate) pace: Pace,
}

/// What carries a connection to the control plane.
pub(crate) trait Network: Send + Sync + 'static {
    fn connect(&self, to: Endpoint) -> Connecting;
}

pub(crate) type Connecting =
    Pin<Box<dyn Future<Output = Result<Channel, tonic::transport::Error>> + Send>>;

/// The operating system's.
struct Tcp;

impl Network for Tcp {
    fn connect(&self, to: Endpoint) -> Connecting {
        Box::pin(async move { to.connect().await })
    }
}

/// What the agent shows with every call after enrolment. Prints nothing.
#[derive(Clone)]
pub(crate) struct Pass {
    credential: MetadataValue<Ascii>,
    /// Told when a call was refused for want of a certificate that counts.
    refused: Arc<Notify>,
}

/// Why the link cannot be set up at all.
#[derive(Debug, Error)]
pub enum LinkError {
    #[error("the authority's file {} cannot be read", path.display())]
    Authority {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("the control plane's address or authority cannot be used")]
    Unusable(#[source] tonic::transport::Error),
    #[error("the certificate cannot be shown")]
    Certificate(#[source] tonic::transport::Error),
}

/// How a session of a stream ended.
#[derive(Debug)]
pub(crate) struct SessionEnd {
    /// The other side had answered; if it talked for a while, the next dial may come soon.
    pub(crate) lived: bool,
    pub(crate) cause: Cause,
    /// How long the control plane asks to be left alone.
    pub(crate) retry_after: Option<Duration>,
}

#[derive(Debug)]
pub(crate) enum Cause {
    /// The control plane does not know this agent (any more).
    Unknown,
    /// It demands another certificate.
    Uncertified(String),
    Lost(String),
}

/// The control plane does not know this agent (any more).
#[derive(Debug)]
pub(crate) struct UnknownAgent;

impl Link {
    pub(crate) fn new(settings: &Settings) -> Result<Self, LinkError> {
        Self::over(Arc::new(Tcp), chance::system, settings)
    }

    /// Over a network and with randomness of somebody's choice.
    pub(crate) fn over(
        network: Arc<dyn Network>,
        draw: Draw,
        settings: &Settings,
    ) -> Result<Self, LinkError> {
        let mut endpoint = Endpoint::from_shared(settings.control_plane.to_string())
            .map_err(LinkError::Unusable)?
            .connect_timeout(settings.pace.call)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE_ANSWER)
            .keep_alive_while_idle(true);
        let mut tls = None;
        if settings.control_plane.scheme() == "https" {
            let config = ClientTlsConfig::new();
            let config = match &settings.control_plane_ca {
                None => config.with_webpki_roots(),
                Some(path) => {
                    let pem = std::fs::read(path).map_err(|source| LinkError::Authority {
                        path: path.clone(),
                        source,
                    })?;
                    config.ca_certificate(Certificate::from_pem(pem))
                }
            };
            let with_tls = endpoint.tls_config(config.clone());
            endpoint = with_tls.map_err(LinkError::Unusable)?;
            tls = Some(config);
        }
        Ok(Self {
            endpoint,
            tls,
            certified: Arc::default(),
            network,
            draw,
            pace: settings.pace,
        })
    }

    /// Whether it speaks TLS, so that a certificate can be shown.
    pub(crate) const fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// Shows a certificate with its key, both in PEM, from the next dial on.
    pub(crate) fn show(&self, certificate: &str, key: &str) -> Result<(), LinkError> {
        let Some(tls) = self.tls.clone() else {
            return Ok(());
        };
        let identity = Identity::from_pem(certificate, key);
        let endpoint = self.endpoint.clone().tls_config(tls.identity(identity));
        let endpoint = endpoint.map_err(LinkError::Certificate)?;
        self.certified.store(Some(Arc::new(endpoint)));
        Ok(())
    }

    /// A fresh connection, with the certificate that is held, or why there is none.
    pub(crate) async fn dial(&self) -> Result<Channel, String> {
        match self.certified.load_full() {
            Some(endpoint) => self.connect(&endpoint).await,
            None => self.dial_bare().await,
        }
    }

    /// A fresh connection that shows no certificate.
    pub(crate) async fn dial_bare(&self) -> Result<Channel, String> {
        self.connect(&self.endpoint).await
    }

    async fn connect(&self, endpoint: &Endpoint) -> Result<Channel, String> {
        let connecting = self.network.connect(endpoint.clone());
        match tokio::time::timeout(self.pace.call, connecting).await {
            Ok(Ok(channel)) => Ok(channel),
            Ok(Err(error)) => Err(chain(&error)),
            Err(_) => Err(format!("no connection within {:?}", self.pace.call)),
        }
    }

    /// The waits between dials, from the shortest on.
    pub(crate) fn redial(&self) -> Redial {
        Redial::new(self.pace.redial, self.draw)
    }

    /// A random part of a wait, from 0 up to 1.
    pub(crate) fn fraction(&self) -> f64 {
        chance::fraction(self.draw)
    }
}

impl Pass {
    pub(crate) fn new(credential: &str) -> Option<Self> {
        let mut value = MetadataValue::try_from(format!("Bearer {credential}")).ok()?;
        value.set_sensitive(true);
        Some(Self {
            credential: value,
            refused: Arc::default(),
        })
    }

    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request
            .metadata_mut()
            .insert("authorization", self.credential.clone());
        request
    }

    /// Waits until a call is refused for want of a certificate that counts.
    pub(crate) async fn refused(&self) {
        self.refused.notified().await;
    }

    /// So that only refusals from now on count.
    pub(crate) fn forget_refusals(&self) {
        // One is kept for whoever waits next: it is taken here.
        self.refused.notified().now_or_never();
    }
}

impl SessionEnd {
    pub(crate) fn lost(lived: bool, why: impl Into<String>) -> Self {
        Self {
            lived,
            cause: Cause::Lost(why.into()),
            retry_after: None,
        }
    }

    pub(crate) fn status(lived: bool, status: &Status) -> Self {
        let cause = match status.code() {
            Code::Unauthenticated => Cause::Unknown,
            Code::PermissionDenied if wants_certificate(status) => {
                Cause::Uncertified(describe(status))
            }
            _ => Cause::Lost(describe(status)),
        };
        let hint = status.get_details_retry_info();
        Self {
            lived,
            cause,
            retry_after: hint.and_then(|hint| hint.retry_delay),
        }
    }

    /// The other side ended the stream without an error, at its shutdown for example.
    pub(crate) fn closed() -> Self {
        Self::lost(true, "the control plane ended the stream")
    }
}

fn wants_certificate(status: &Status) -> bool {
    let info = status.get_details_error_info();
    info.is_some_and(|info| info.reason.starts_with("AGENT_CERTIFICATE_"))
}

/// Code, message and causes, without metadata.
pub(crate) fn describe(status: &Status) -> String {
    let mut text = format!("{:?}: {}", status.code(), status.message());
    if let Some(source) = std::error::Error::source(status) {
        text.push_str(": ");
        text.push_str(&chain(source));
    }
    text
}

/// One of the agent's streams, over all its sessions.
pub(crate) trait Stream: Send {
    fn name(&self) -> &'static str;

    /// One session, from the dial to its end.
    fn session(&mut self, pass: &Pass) -> impl Future<Output = SessionEnd> + Send;
}

/// Holds one stream open: session after session, until `stop` or until the agent is unknown.
pub(crate) async fn keep_open(
    stream: &mut impl Stream,
    pass: &Pass,
    mut wait: Redial,
    settled: Duration,
    stop: &CancellationToken,
) -> Result<(), UnknownAgent> {
    let mut told = String::new();
    let name = stream.name();
    loop {
        let began = Instant::now();
        let end = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            end = stream.session(pass) => end,
        };
        let why = match end.cause {
            Cause::Unknown => return Err(UnknownAgent),
            Cause::Uncertified(why) => {
                pass.refused.notify_one();
                why
            }
            Cause::Lost(why) => why,
        };
        // One that answers and closes at once must not be dialled at once, again and again.
        if end.lived && began.elapsed() >= settled {
            wait.reset();
            told.clear();
        }
        // Once per change: an outage of a day must not fill the log.
        if why == told {
            tracing::debug!(stream = name, error = why, "no stream yet");
        } else {
            tracing::warn!(
                stream = name,
                error = why,
                "the stream to the control plane is lost"
            );
            told = why;
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(wait.after(end.retry_after)) => {}
        }
    }
}

/// Full jitter: a random wait up to a ceiling that doubles, so that a fleet does not come back at once.
pub(crate) struct Redial {
    floor: Duration,
    most: Duration,
    ceiling: Duration,
    draw: Draw,
}

impl Redial {
    pub(crate) fn new((floor, most): (Duration, Duration), draw: Draw) -> Self {
        Self {
            floor,
            most,
            ceiling: floor,
            draw,
        }
    }

    pub(crate) fn reset(&mut self) {
        self.ceiling = self.floor;
    }

    /// Not before the control plane asks for it, and then spread over as long again.
    pub(crate) fn after(&mut self, hint: Option<Duration>) -> Duration {
        let next = self.next();
        let hint = hint.unwrap_or_default().min(MOST_HINT);
        next.max(hint + hint.mul_f64(chance::fraction(self.draw)))
    }

    pub(crate) fn next(&mut self) -> Duration {
        self.ceiling = (self.ceiling * 2).min(self.most);
        let room = self.ceiling.saturating_sub(self.floor);
        self.floor + room.mul_f64(chance::fraction(self.draw))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_bound_and_start_small_again() {
        let (floor, most) = (Duration::from_millis(200), Duration::from_secs(10));
        let mut wait = Redial::new((floor, most), chance::system);
        for _ in 0..50 {
            let next = wait.next();
            assert!((floor..=most).contains(&next), "{next:?}");
        }
        assert_eq!(wait.ceiling, most);
        wait.reset();
        assert!(wait.next() <= floor * 2);
    }

    #[test]
    fn a_hint_is_kept_to_and_spread_and_has_a_bound() {
        let bounds = (Duration::from_millis(200), Duration::from_secs(10));
        let mut wait = Redial::new(bounds, chance::system);
        for _ in 0..50 {
            let hinted = wait.after(Some(Duration::from_secs(20)));
            let kept = Duration::from_secs(20)..=Duration::from_secs(40);
            assert!(kept.contains(&hinted), "{hinted:?}");
            assert!(wait.after(Some(Duration::from_secs(86_400))) <= MOST_HINT * 2);
            assert!(wait.after(Some(Duration::ZERO)) <= bounds.1);
        }
    }

    #[test]
    fn the_hint_comes_with_the_status() {
        let mut details = tonic_types::ErrorDetails::new();
        details.set_retry_info(Some(Duration::from_secs(3)));
        let status = Status::with_error_details(Code::Unavailable, "later", details);
        let end = SessionEnd::status(true, &status);
        assert_eq!(end.retry_after, Some(Duration::from_secs(3)));
    }

    /// Accepts every call and closes it at once.
    struct Slammed(u32);

    impl Stream for Slammed {
        fn name(&self) -> &'static str {
            "slammed"
        }

        async fn session(&mut self, _pass: &Pass) -> SessionEnd {
            self.0 += 1;
            SessionEnd::closed()
        }
    }

    #[tokio::test]
    async fn a_control_plane_that_closes_at_once_is_left_alone_longer_and_longer() {
        let bounds = (Duration::from_micros(100), Duration::from_secs(3_600));
        let wait = Redial::new(bounds, chance::system);
        let settled = Pace::default().settled();
        let (pass, stop) = (Pass::new("hpa_x").unwrap(), CancellationToken::new());
        let mut stream = Slammed(0);
        let open = keep_open(&mut stream, &pass, wait, settled, &stop);
        drop(tokio::time::timeout(Duration::from_secs(2), open).await);
        // Waits that double from a tenth of a millisecond fill two seconds soon.
        assert!((1..100).contains(&stream.0), "{} dials", stream.0);
    }
}
