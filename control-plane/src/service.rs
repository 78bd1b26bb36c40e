//! What people and programs may do with configuration: admission and changes.
//!
//! Owns the rules of create, replace, patch, upsert, delete, enable and disable,
//! once for every kind of resource. Refuses to know wire types and SQL.
//! Invariants: nothing is stored that an agent would refuse; what would change
//! nothing takes no revision; a redacted secret that comes back keeps the stored one.

pub mod access;
mod apply;
mod call;
pub mod certificates;
mod connection;
mod destination;
mod filter;
pub mod handler_keys;
pub mod keys;
mod resource;
pub mod secrets;
mod source;
pub mod teams;

use thiserror::Error;

use crate::domain::{
    Connection, ConnectionSpec, Destination, DestinationAuth, DestinationSpec, Filter,
    FilterSettings, ResourceKind, Source, SourceAuth, SourceSpec, Violation,
};
use crate::store::{InvalidPage, StoreError};

pub use access::Access;
pub use apply::{
    Applied, Conditioned, Configuration, Planned, Shadowed, Snapshot, Wanted, WantedConnection,
};
pub use call::{Call, Repeat};
pub use certificates::Certificates;
pub use handler_keys::HandlerKeys;
pub use keys::Keys;
pub(crate) use resource::mint;
pub use resource::{Resource, Resources, Switchable};
pub use secrets::Secrets;
pub use teams::Teams;

pub type Sources = Resources<Source>;
pub type Destinations = Resources<Destination>;
pub type Connections = Resources<Connection>;
pub type Filters = Resources<Filter>;

/// What is asked for a source.
#[derive(Clone, Debug)]
pub struct SourceDraft {
    pub spec: SourceSpec,
    pub auth: SourceAuth,
    pub state: State,
}

/// What is asked for a destination.
#[derive(Clone, Debug)]
pub struct DestinationDraft {
    pub spec: DestinationSpec,
    pub auth: DestinationAuth,
    pub state: State,
}

/// What is asked for a filter.
#[derive(Clone, Debug)]
pub struct FilterDraft {
    pub spec: FilterSettings,
}

/// What is asked for a connection.
#[derive(Clone, Debug)]
pub struct ConnectionDraft {
    /// Only an upsert looks at it; empty means by source and name.
    pub id: String,
    pub source_id: String,
    pub destination_id: String,
    pub spec: ConnectionSpec,
    pub state: State,
    pub flow: Flow,
}

/// Whether a connection shall hold its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// As it is; a new one delivers. So applying a file does not let go what an operator held.
    Keep,
    Delivering,
    Paused,
}

impl Flow {
    /// A time of pausing asks for it; none leaves things as they are.
    #[must_use]
    pub const fn of_paused_at(given: bool) -> Self {
        if given { Self::Paused } else { Self::Keep }
    }

    /// The same draft as part of a patch, where what is not paused delivers.
    #[must_use]
    pub const fn settled(self) -> Self {
        match self {
            Self::Paused => Self::Paused,
            Self::Keep | Self::Delivering => Self::Delivering,
        }
    }
}

/// Whether a resource shall be enabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// As it is; a new one is enabled. So applying a file again does not undo
    /// what an operator switched off in the night.
    Keep,
    Enabled,
    Disabled,
}

impl State {
    /// A time of disabling asks for it; none leaves things as they are.
    #[must_use]
    pub const fn of_disabled_at(given: bool) -> Self {
        if given { Self::Disabled } else { Self::Keep }
    }

    /// The same draft as part of a patch, where what is not disabled is enabled.
    #[must_use]
    pub const fn settled(self) -> Self {
        match self {
            Self::Disabled => Self::Disabled,
            Self::Keep | Self::Enabled => Self::Enabled,
        }
    }

    fn disabled_at(self, stored: Option<i64>, now: i64) -> Option<i64> {
        match self {
            Self::Keep => stored,
            Self::Enabled => None,
            Self::Disabled => stored.or(Some(now)),
        }
    }
}

/// Why a call did nothing.
#[derive(Debug, Error)]
pub enum ServiceError {
    #[error("{}", .0.first().map_or_else(String::new, |fault| format!("{}: {}", fault.field, fault.message)))]
    Invalid(Vec<Violation>),
    #[error("there is no {} `{id}`", .kind.noun())]
    NotFound { kind: ResourceKind, id: String },
    #[error("a {} named `{name}` exists already", .kind.noun())]
    Exists {
        kind: ResourceKind,
        id: String,
        name: String,
    },
    #[error("the {} `{id}` is used by {by} connection(s)", .kind.noun())]
    InUse {
        kind: ResourceKind,
        id: String,
        by: u64,
    },
    #[error("the {} `{id}` is disabled", .kind.noun())]
    Disabled { kind: ResourceKind, id: String },
    #[error("the {} `{id}` was changed since it was read", .kind.noun())]
    Changed { kind: ResourceKind, id: String },
    #[error("the {} that the etag belongs to is not there", .kind.noun())]
    Missing { kind: ResourceKind },
    #[error("the configuration of the team is being applied by another call")]
    UnderWay,
    #[error("another call was made with the request id `{id}`")]
    RequestIdReused { id: String },
    #[error("`{id}` is the last API key in force with which others can be made")]
    LastKey { id: String },
    #[error("the API key `{id}` is revoked")]
    KeyRevoked { id: String },
    #[error("the API key `{id}` has scopes that the calling key has not: {scopes}")]
    BeyondOwnScopes { id: String, scopes: String },
    #[error("{}: {fault}", .fault.field())]
    Page { fault: InvalidPage },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Vec<Violation>> for ServiceError {
    fn from(faults: Vec<Violation>) -> Self {
        Self::Invalid(faults)
    }
}

impl From<InvalidPage> for ServiceError {
    fn from(fault: InvalidPage) -> Self {
        Self::Page { fault }
    }
}
