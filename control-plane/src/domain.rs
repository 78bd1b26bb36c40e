//! The nouns of the control plane as plain values, and what makes them valid.
//!
//! Owns the meaning of a source, a destination, a connection, a key and an
//! agent. Refuses to know databases, wire types and time. Invariant: validation
//! asks the crates the agents run (`signature`, `rules`), so what is admitted
//! here is not refused there.

pub mod agent;
pub mod agent_authority;
pub mod agent_token;
pub mod api_key;
pub mod audit;
pub mod bulk;
pub mod caller;
pub mod certificate;
pub mod connection;
pub mod destination;
pub mod destination_auth;
pub mod filter;
pub mod handler_key;
pub mod histogram;
pub mod report;
pub mod rollout;
pub mod scope;
pub mod secret;
pub mod secret_term;
pub mod source;
pub mod team;
pub mod violation;

pub use agent::{Agent, RefusedResource};
pub use agent_authority::AgentAuthority;
pub use agent_token::AgentToken;
pub use api_key::ApiKey;
pub use caller::Caller;
pub use certificate::ClientCertificate;
pub use connection::{Connection, ConnectionSpec, RetryRule, Rule};
pub use destination::{Destination, DestinationSpec, RateLimitPeriod};
pub use destination_auth::{ClientCredentials, DestinationAuth};
pub use filter::{Filter, FilterSettings};
pub use handler_key::{HandlerKey, KnownHandlerKey};
pub use histogram::Histogram;
pub use report::{
    CircuitState, DestinationNumbers, DestinationState, Report, SecretNumbers, SourceNumbers,
};
pub use scope::{Scope, Scopes};
pub use secret_term::{SecretTerm, SecretUse};
pub use source::{CustomResponse, Source, SourceAuth, SourceSpec};
pub use team::Team;
pub use violation::Violation;

/// Unix time in milliseconds.
pub type Millis = i64;

/// The pool of a source that names none.
pub const DEFAULT_POOL: &str = "default";

/// The kinds of configuration, by the word that people see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResourceKind {
    Source,
    Destination,
    Connection,
    Filter,
    ApiKey,
    HandlerKey,
    Agent,
    AgentToken,
    AgentAuthority,
    Rollout,
    Team,
}

impl ResourceKind {
    /// `source`, `api_key`, … for programs.
    #[must_use]
    pub const fn slug(self) -> &'static str {
        match self {
            Self::ApiKey => "api_key",
            Self::HandlerKey => "handler_key",
            Self::AgentToken => "agent_token",
            Self::AgentAuthority => "agent_authority",
            other => other.noun(),
        }
    }

    /// `source`, `API key`, … for messages.
    #[must_use]
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Destination => "destination",
            Self::Connection => "connection",
            Self::Filter => "filter",
            Self::ApiKey => "API key",
            Self::HandlerKey => "handler key",
            Self::Agent => "agent",
            Self::AgentToken => "agent token",
            Self::AgentAuthority => "agent authority",
            Self::Rollout => "rollout",
            Self::Team => "team",
        }
    }
}

/// Differs whenever the resource does: its revision, told apart from the same
/// revision of a database that was restored.
#[must_use]
pub fn etag(id: &str, revision: u64, updated_at: Millis) -> String {
    use sha2::{Digest as _, Sha256};
    let hash = Sha256::digest(format!("{id} {revision} {updated_at}"));
    hex::encode(&hash[..8])
}
