//! The database, as the questions the control plane asks it.
//!
//! Owns tables, transactions, sealing of secrets and the configuration
//! revision. Refuses to know wire types and rules of admission. Invariants:
//! every query names its team; a write and the revision it causes commit in
//! one transaction; no network call happens inside one; secrets are sealed
//! before they reach a column.

pub mod agents;
pub mod change;
pub mod config;
mod connections;
pub mod database;
mod destinations;
pub mod keys;
mod page;
pub mod reports;
pub mod seal;
mod sources;

use thiserror::Error;

pub use agents::AgentStore;
pub use change::Change;
pub use config::{ConfigStore, PoolConfiguration, SourceGroup};
pub use database::Database;
pub use keys::KeyStore;
pub use page::{InvalidPage, OrderBy, Page, PageRequest};
pub use reports::ReportStore;
pub use seal::Sealer;

/// Why the database did not do as asked.
#[derive(Debug, Error)]
pub enum StoreError {
    /// It cannot be reached, or refused.
    #[error("the database did not answer as it should")]
    Unavailable(#[from] sea_orm::DbErr),
    /// A row that our own code cannot have written, or that another key sealed.
    #[error("{table} row {id} is broken: {fault}")]
    Broken {
        table: &'static str,
        id: String,
        fault: String,
    },
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
