//! Before the database is opened: whether it is within reach, said in its own words.
//!
//! A pool only tells that no connection came in time. The first connection is
//! made without one, so that a start names the cause. A file of SQLite is made
//! here too, readable for its owner only: what it makes beside it follows.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sea_orm::{DbErr, RuntimeErr};
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Error};

use super::StoreError;

const PATIENCE: Duration = Duration::from_secs(10);

/// # Errors
/// [`StoreError::Unreachable`] with the cause.
pub async fn prepare(url: &str) -> Result<(), StoreError> {
    match url.strip_prefix("sqlite:") {
        Some(place) => make_file(place).map_err(|error| unreachable(Error::Io(error))),
        None => connect(url).await.map_err(unreachable),
    }
}

fn unreachable(error: Error) -> StoreError {
    StoreError::Unreachable(DbErr::Conn(RuntimeErr::SqlxError(Arc::new(error))))
}

async fn connect(url: &str) -> Result<(), Error> {
    let connected = tokio::time::timeout(PATIENCE, PgConnection::connect(url));
    let late = |_| Error::Io(io::ErrorKind::TimedOut.into());
    connected.await.map_err(late)??.close().await
}

/// Only where the URL asks for a file to be made; all else is the driver's to judge.
fn make_file(place: &str) -> io::Result<()> {
    let place = place.trim_start_matches("//");
    let Some((path, options)) = place.split_once('?') else {
        return Ok(());
    };
    if path.is_empty() || path == ":memory:" || !options.split('&').any(|one| one == "mode=rwc") {
        return Ok(());
    }
    let path = percent_encoding::percent_decode_str(path).decode_utf8_lossy();
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(Path::new(path.as_ref()));
    match made {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}
