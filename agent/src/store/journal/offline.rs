//! Work on a stopped store: check it, make its index again, write out what it holds.
//!
//! Owns the lock for that time, so a running agent keeps its store. Reads the journal, not the
//! index. Opening cuts off a write that a crash interrupted, as every opening does.

mod export;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use hookplane_journal::io::RealDirectory;
use hookplane_journal::{Journal, Position, ReadError};
use thiserror::Error;

use super::entry::{self, kind};
use super::index;
use super::open::{Places, open_journal};
use super::{JournalStore, Options};
use crate::store::StoreError;

/// Why work on a stopped store was not done.
#[derive(Debug, Error)]
pub enum OfflineError {
    #[error("there is no store in {0}")]
    NoStore(String),
    #[error("the store is in use: stop the agent first")]
    InUse,
    #[error("the store cannot be opened")]
    Open(#[source] StoreError),
    #[error("the journal cannot be read")]
    Read(#[source] ReadError),
    #[error("the result cannot be written")]
    Output(#[from] io::Error),
}

/// Reads every record and the index, and says what is wrong. False when something is.
///
/// # Errors
/// [`OfflineError`], when the store could not be looked at as a whole.
pub fn verify(folder: &Path, out: &mut dyn Write) -> Result<bool, OfflineError> {
    let (journal, damaged) = open(folder)?;
    for damage in &damaged {
        writeln!(out, "damaged: {damage}")?;
    }
    let mut faults = damaged.len();
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for found in journal.scan(Position::START) {
        match found {
            Ok(found) => {
                *counts.entry(name(found.record.kind)).or_default() += 1;
                if let Err(error) = entry::read(&found.record) {
                    faults += 1;
                    writeln!(out, "damaged: {}: {}", found.position, chain(&error))?;
                }
            }
            Err(ReadError::Io(error)) => return Err(OfflineError::Read(error.into())),
            Err(error) => {
                faults += 1;
                writeln!(out, "damaged: {error}")?;
            }
        }
    }
    let segments = journal.segments().len();
    writeln!(
        out,
        "journal: {segments} segments, {} bytes",
        journal.size_on_disk()
    )?;
    for (name, count) in counts {
        writeln!(out, "  {name}: {count}")?;
    }
    if let Some(fault) = index_fault(&Places::of(folder).index, out)? {
        faults += 1;
        writeln!(out, "index: {fault}; `store rebuild-index` makes it again")?;
    }
    let verdict = if faults == 0 { "sound" } else { "damaged" };
    writeln!(out, "{verdict}")?;
    Ok(faults == 0)
}

/// Makes the index again from the journal.
///
/// # Errors
/// [`OfflineError`].
pub async fn rebuild_index(folder: &Path, out: &mut dyn Write) -> Result<(), OfflineError> {
    // The lock is tried before anything is taken away.
    drop(open(folder)?);
    index::remove(&Places::of(folder).index).map_err(OfflineError::Open)?;
    let store = JournalStore::open(folder, &Options::default()).map_err(OfflineError::Open)?;
    while store.parts().indexed().await.is_err() {
        tracing::info!("the index is being made");
    }
    let imbalance = store.ask(|db, _| index::upkeep::imbalance(db)).await;
    let imbalance = imbalance.map_err(OfflineError::Open)?;
    store.close().await;
    writeln!(
        out,
        "the index is made again; events out of balance: {imbalance}"
    )?;
    Ok(())
}

/// Writes every record as a line of JSON, in the order in which they happened.
///
/// # Errors
/// [`OfflineError`].
pub fn export(folder: &Path, out: &mut dyn Write) -> Result<(), OfflineError> {
    let (journal, _) = open(folder)?;
    for found in journal.scan(Position::START) {
        let line = match found {
            Ok(found) => export::line(&found),
            Err(ReadError::Io(error)) => return Err(OfflineError::Read(error.into())),
            Err(error) => export::lost(&error),
        };
        writeln!(out, "{line}")?;
    }
    out.flush()?;
    Ok(())
}

fn open(folder: &Path) -> Result<(Journal, Vec<String>), OfflineError> {
    let places = Places::of(folder);
    if !places.journal.is_dir() {
        return Err(OfflineError::NoStore(folder.display().to_string()));
    }
    let directory = RealDirectory::open(&places.journal).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => OfflineError::InUse,
        _ => OfflineError::Open(index::failed(error)),
    })?;
    let mut options = Options::default();
    // Nothing is going to be written.
    options.journal.reserve = false;
    let (journal, recovery) =
        open_journal(Arc::new(directory), &options).map_err(OfflineError::Open)?;
    let damaged = recovery.damage.iter().map(ToString::to_string);
    Ok((journal, damaged.collect()))
}

/// What is wrong with the index; none is made.
fn index_fault(path: &Path, out: &mut dyn Write) -> Result<Option<String>, OfflineError> {
    if !path.exists() {
        writeln!(out, "index: none yet, the next start makes it")?;
        return Ok(None);
    }
    let checked = index::reader(path).and_then(|db| index::upkeep::check(&db));
    Ok(match checked {
        Ok(fault) => {
            if fault.is_none() {
                writeln!(out, "index: whole")?;
            }
            fault
        }
        Err(error) => Some(chain(&error)),
    })
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    crate::causes::chain(error)
}

fn name(kind: u8) -> &'static str {
    match kind {
        kind::PAYLOAD => "payload",
        kind::REQUEST => "request",
        kind::CARRIED => "carried request",
        kind::REPEAT => "repeat",
        kind::TALLY => "tally",
        kind::ATTEMPT => "attempt",
        kind::CARRIED_ATTEMPT => "carried attempt",
        kind::RETRY => "retry",
        kind::CANCEL => "cancel",
        kind::BROKEN => "broken",
        kind::NUMBER => "number",
        kind::REPORT => "report",
        kind::ACKNOWLEDGED => "acknowledged",
        kind::KEYS => "keys",
        kind::FACTS => "facts",
        _ => "unknown",
    }
}
