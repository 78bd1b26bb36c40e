//! The database, as the questions the control plane asks it.
//!
//! Owns tables, transactions, sealing of secrets and the configuration
//! revision. Refuses to know wire types and rules of admission. Invariants:
//! every query names its team; a write and the revision it causes commit in
//! one transaction; no network call happens inside one; secrets are sealed
//! before they reach a column.

pub mod access;
pub mod agents;
mod answers;
pub mod audit;
pub mod authorities;
pub mod bulk;
pub mod change;
pub mod config;
mod connections;
pub mod database;
mod destinations;
mod filters;
mod handler_keys;
pub mod keys;
mod notices;
pub mod observed;
mod page;
pub mod pool;
mod pools;
pub mod reach;
pub mod rekey;
pub mod replicas;
pub mod reports;
pub mod rollouts;
pub mod seal;
mod secret_uses;
mod sources;
pub mod teams;
pub mod watch;

use std::borrow::Cow;

use sea_orm::{DbErr, RuntimeErr};
use thiserror::Error;

pub use access::AccessStore;
pub use agents::AgentStore;
pub use answers::Recalled;
pub use audit::{AuditFilter, Checked, Ledger};
pub use authorities::AuthorityStore;
pub use bulk::BulkStore;
pub use change::Change;
pub use config::ConfigStore;
pub use database::Database;
pub use keys::KeyStore;
pub use page::{InvalidPage, OrderBy, Page, PageRequest};
pub use pool::{PoolConfiguration, SourceGroup};
pub use replicas::ReplicaStore;
pub use reports::ReportStore;
pub use rollouts::RolloutStore;
pub use seal::Sealer;
pub use teams::TeamStore;

/// Why the database did not do as asked.
#[derive(Debug, Error)]
pub enum StoreError {
    /// It cannot be reached, or refused.
    #[error("the database did not answer as it should")]
    Unavailable(#[source] DbErr),
    /// No connection came about.
    #[error("the database cannot be reached")]
    Unreachable(#[source] DbErr),
    /// A later release made or migrated it.
    #[error(
        "the database was migrated by a newer release (`{0}` is not known to this one); start that release, or restore a backup of before the upgrade"
    )]
    Newer(String),
    /// Too many changes wait for their turn.
    #[error("too many changes wait for their turn")]
    Busy,
    /// It cannot hold or compare a value that the caller gave.
    #[error("a value of the call does not fit the database: {0}")]
    Value(String),
    /// Something is sealed with a key that is not given.
    #[error(
        "its secrets are sealed with another key ({0}) than those given; give that key too, as a further line where the secret key is"
    )]
    KeyMissing(String),
    /// A row that our own code cannot have written, or that another key sealed.
    #[error("{table} row {id} is broken: {fault}")]
    Broken {
        table: &'static str,
        id: String,
        fault: String,
    },
}

/// Class 22 of the SQL standard: data exceptions, whose cause is a value in the statement.
const DATA_EXCEPTION: &str = "22";

impl From<DbErr> for StoreError {
    fn from(error: DbErr) -> Self {
        match data_exception(&error) {
            Some(fault) => Self::Value(fault),
            None => Self::Unavailable(error),
        }
    }
}

fn data_exception(error: &DbErr) -> Option<String> {
    let (DbErr::Exec(RuntimeErr::SqlxError(cause)) | DbErr::Query(RuntimeErr::SqlxError(cause))) =
        error
    else {
        return None;
    };
    let fault = cause.as_database_error()?;
    let is_data = fault.code()?.starts_with(DATA_EXCEPTION);
    // SQLite has codes of its own, which are whole numbers.
    let is_state = fault.try_downcast_ref::<sea_orm::sqlx::postgres::PgDatabaseError>();
    (is_data && is_state.is_some()).then(|| fault.message().to_owned())
}

/// Whether there can be a row with this text in a column that names it. What
/// holds control characters was never admitted, and PostgreSQL takes no NUL in a
/// statement.
fn can_be_stored(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

/// The text without what cannot be stored: for what agents tell, where refusing
/// the whole for one character would lose the rest.
fn storable(text: &str) -> Cow<'_, str> {
    if can_be_stored(text) {
        return Cow::Borrowed(text);
    }
    let printable = text.chars().filter(|letter| !letter.is_control());
    Cow::Owned(printable.collect())
}

fn broken(table: &'static str, id: &str, fault: impl std::fmt::Display) -> StoreError {
    StoreError::Broken {
        table,
        id: id.to_owned(),
        fault: fault.to_string(),
    }
}

/// Columns are signed; everything counted is not negative.
fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
