//! What the agent was told to do: sources, connections and destinations in the
//! form the stages use.
//!
//! Owns the prepared, validated configuration of one revision. Refuses to know
//! where it came from (`control` converts and swaps it) and what is done with it.
//! Invariant: a value of these types is complete and valid; keys are prepared,
//! patterns compiled, limits resolved to numbers.

mod branches;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use hookplane_rules::{Deduplicate, Delay, Filter, RetryPolicy, Transform};
use hookplane_signature::{Provider, StandardSigner, Verifier};
use url::Url;
use zeroize::Zeroizing;

pub use branches::Branches;

/// The configuration in force, behind one atomic pointer. Do not hold a guard across an await.
pub type CurrentConfiguration = Arc<ArcSwap<Configuration>>;

/// One revision, whole.
#[derive(Debug, Default)]
pub struct Configuration {
    /// Lineage of the control plane's database; empty before the first one.
    pub epoch: String,
    pub revision: u64,
    pub sources: HashMap<String, Arc<Source>>,
    pub destinations: HashMap<String, Arc<Destination>>,
    /// Connections that a person deleted. What is merely absent may have moved to
    /// another pool, be refused here, or be forgotten by a restored database.
    pub deleted_connections: HashSet<String>,
}

impl Configuration {
    /// Paused connections of a team, or of all: what is pending on them is held.
    #[must_use]
    pub fn paused(&self, team_id: Option<&str>) -> HashSet<String> {
        let sources = self.sources.values();
        let ours = sources.filter(|source| team_id.is_none_or(|team| source.team_id == team));
        let all = ours.flat_map(|source| source.connections.iter());
        let paused = all.filter(|connection| connection.paused);
        paused.map(|connection| connection.id.clone()).collect()
    }
}

/// Where requests come from and how they are judged.
#[derive(Debug)]
pub struct Source {
    pub id: String,
    pub team_id: String,
    pub name: String,
    pub provider: Provider,
    pub enabled: bool,
    pub verifier: Verifier,
    /// Upper-case names.
    pub methods: Vec<http::Method>,
    pub custom_response: Option<CustomResponse>,
    pub max_body_bytes: usize,
    pub dedupe_window: Duration,
    pub connections: Branches,
    /// With which its handlers may report on it.
    pub handler_keys: Vec<HandlerKey>,
    /// Revision of the last change of the source or one of its connections.
    pub version: u64,
}

/// A key of a source's handlers. The key itself is not known here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandlerKey {
    pub id: String,
    pub sha256: [u8; 32],
}

#[derive(Clone, Debug)]
pub struct CustomResponse {
    /// A full media type.
    pub content_type: String,
    pub body: Bytes,
}

/// One branch of a source.
#[derive(Debug)]
pub struct Connection {
    pub id: String,
    pub name: String,
    pub destination_id: String,
    pub enabled: bool,
    /// Its pending events wait until it is resumed.
    pub paused: bool,
    /// How what waited is let go.
    pub drain: Option<Drain>,
    /// All must match.
    pub filters: Vec<Filter>,
    /// Which of them are repeats; none when `None`.
    pub deduplicate: Option<Deduplicate>,
    /// When its events are first sent; at once when `None`.
    pub delay: Option<Delay>,
    /// What is sent in place of what came; all of it as it is when `None`.
    pub transform: Option<Transform>,
    pub retry: RetryPolicy,
}

/// Events made before a moment are delivered at a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// Unix milliseconds.
    pub before: u64,
    /// Deliveries that start per second, at least 1.
    pub rate: u32,
}

/// One receiver.
#[derive(Debug)]
pub struct Destination {
    pub id: String,
    pub team_id: String,
    pub name: String,
    pub url: Url,
    /// The inbound method when `None`.
    pub method: Option<http::Method>,
    pub path_forwarding: bool,
    /// Its handlers tell what came of the work.
    pub reports_outcome: bool,
    pub auth: DestinationAuth,
    /// Whole exchange.
    pub timeout: Duration,
    /// Ceiling of what is found out by trying.
    pub max_in_flight: usize,
    pub rate: Option<RateLimit>,
    pub enabled: bool,
    pub version: u64,
}

/// Most deliveries that start per period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// At least 1.
    pub count: u32,
    pub period: Duration,
}

/// How a delivery proves who sends it. Prints no secret.
#[derive(Clone)]
pub enum DestinationAuth {
    None,
    Basic {
        username: String,
        password: String,
    },
    Bearer {
        token: String,
    },
    Header {
        name: http::HeaderName,
        value: String,
    },
    /// `hookplane-signature: v1=<hex>` over `<hookplane-timestamp>.<raw body>`.
    HookplaneSignature {
        secret: String,
    },
    /// `webhook-id`, `webhook-timestamp` and `webhook-signature`.
    StandardWebhooks(Arc<StandardSigner>),
    /// A bearer token that the agent fetches.
    ClientCredentials(Arc<ClientCredentials>),
    /// The TLS client that shows a certificate, for connections to this receiver only.
    ClientCertificate(Arc<rustls::ClientConfig>),
}

/// What a token is asked for with (RFC 6749, section 4.4).
pub struct ClientCredentials {
    pub token_url: http::Uri,
    pub client_id: String,
    pub client_secret: Zeroizing<String>,
    /// Not sent when empty.
    pub scope: String,
    /// Not sent when empty.
    pub audience: String,
    /// In the form instead of the Authorization header.
    pub in_body: bool,
}

impl fmt::Debug for ClientCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientCredentials({}, redacted)", self.token_url)
    }
}

impl fmt::Debug for DestinationAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Basic { .. } => "Basic(redacted)",
            Self::Bearer { .. } => "Bearer(redacted)",
            Self::Header { .. } => "Header(redacted)",
            Self::HookplaneSignature { .. } => "HookplaneSignature(redacted)",
            Self::StandardWebhooks(_) => "StandardWebhooks(redacted)",
            Self::ClientCredentials(_) => "ClientCredentials(redacted)",
            Self::ClientCertificate(_) => "ClientCertificate(redacted)",
        })
    }
}
