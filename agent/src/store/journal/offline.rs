//! Work on a stopped store: check it, make its index again, write out what it holds.
//!
//! Owns the lock for that time, so a running agent keeps its store. Reads the journal, not the
//! index. Opening cuts off a write that a crash interrupted, as every opening does.

mod agreement;
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
    #[error("the index does not come any further")]
    Stuck(#[source] StoreError),
    #[error("the result cannot be written")]
    Output(#[from] io::Error),
}

/// Reads every record and the index, and says what is wrong. False when something is.
///
/// # Errors
/// [`OfflineError`], when the store could not be looked at as a whole.
pub fn verify(folder: &Path, out: &mut dyn Write) -> Result<bool, OfflineError> {
    let (journal, damaged) = open(folder)?;
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let mut faults = tell(&damaged, out)?;
    faults += read_all(&journal, out, |name| *counts.entry(name).or_default() += 1)?;
    let segments = journal.segments().len();
    let bytes = journal.size_on_disk();
    writeln!(out, "journal: {segments} segments, {bytes} bytes")?;
    for (name, count) in counts {
        writeln!(out, "  {name}: {count}")?;
    }
    match agreement::look(&Places::of(folder).index, &journal) {
        Ok(told) => writeln!(out, "index: {told}")?,
        Err(fault) => {
            faults += 1;
            writeln!(out, "index: {fault}; `store rebuild-index` makes it again")?;
        }
    }
    let verdict = if faults == 0 { "sound" } else { "damaged" };
    writeln!(out, "{verdict}")?;
    Ok(faults == 0)
}

/// Makes the index again from the journal. False when something of the journal is lost or the
/// books do not balance. Nothing is given up for its age or for room meanwhile.
///
/// # Errors
/// [`OfflineError`].
pub async fn rebuild_index(folder: &Path, out: &mut dyn Write) -> Result<bool, OfflineError> {
    // The lock is held from before the index is taken away until the new one is closed.
    let directory = lock(folder)?;
    let index = Places::of(folder).index;
    index::remove(&index).map_err(OfflineError::Open)?;
    let store = JournalStore::open_on(directory, &index, &Options::default(), u64::MAX)
        .map_err(OfflineError::Open)?;
    catch_up(&store).await?;
    let damaged: Vec<String> = store.parts().damaged.clone();
    let mut faults = tell(&damaged, out)?;
    faults += read_all(&store.parts().journal, out, |_| {})?;
    store.close().await;
    // Of the whole file, as it was left.
    let books = index::reader(&index).and_then(|db| {
        let imbalance = index::upkeep::imbalance(&db)?;
        Ok((imbalance, index::totals::wrong(&db)?))
    });
    let (imbalance, sums) = books.map_err(OfflineError::Open)?;
    writeln!(
        out,
        "the index is made again; events out of balance: {imbalance}, wrong sums: {sums}, \
         damages: {faults}"
    )?;
    Ok(imbalance == 0 && sums == 0 && faults == 0)
}

/// Waits for the index; an end to it when nothing moves any more.
async fn catch_up(store: &JournalStore) -> Result<(), OfflineError> {
    let mut before = None;
    while let Err(error) = store.parts().indexed().await {
        let progress = &store.parts().progress;
        let now = Some((*progress.applied.borrow(), *progress.indexed.borrow()));
        if now == before {
            return Err(OfflineError::Stuck(error));
        }
        before = now;
        tracing::info!("the index is being made");
    }
    Ok(())
}

/// Writes every record as a line of JSON, in the order in which they happened, and a line for
/// everything that is lost. False when something is, or does not read back.
///
/// # Errors
/// [`OfflineError`].
pub fn export(folder: &Path, out: &mut dyn Write) -> Result<bool, OfflineError> {
    let (journal, damaged) = open(folder)?;
    let mut whole = damaged.is_empty();
    for damage in &damaged {
        writeln!(out, "{}", export::lost(damage))?;
    }
    let mut scan = journal.scan(Position::START);
    while let Some(found) = scan.next() {
        let line = match found {
            Ok(found) => {
                let (line, readable) = export::line(&found);
                whole &= readable;
                line
            }
            // The next step reports it as lost.
            Err(error) if error.is_bad_sector() => {
                scan.pass_over();
                continue;
            }
            Err(ReadError::Io(error)) => return Err(OfflineError::Read(error.into())),
            Err(error) => {
                whole = false;
                export::lost(&error.to_string())
            }
        };
        writeln!(out, "{line}")?;
    }
    out.flush()?;
    Ok(whole)
}

fn tell(damaged: &[String], out: &mut dyn Write) -> Result<usize, OfflineError> {
    for damage in damaged {
        writeln!(out, "damaged: {damage}")?;
    }
    Ok(damaged.len())
}

/// Reads every record; gives how many do not read back, each of them told.
fn read_all(
    journal: &Journal,
    out: &mut dyn Write,
    mut seen: impl FnMut(&'static str),
) -> Result<usize, OfflineError> {
    let mut faults = 0;
    let mut scan = journal.scan(Position::START);
    while let Some(found) = scan.next() {
        match found {
            Ok(found) => {
                seen(name(found.record.kind));
                if let Err(error) = entry::read(&found.record) {
                    faults += 1;
                    writeln!(out, "damaged: {}: {}", found.position, chain(&error))?;
                }
            }
            // The next step reports it as damage.
            Err(error) if error.is_bad_sector() => scan.pass_over(),
            Err(ReadError::Io(error)) => return Err(OfflineError::Read(error.into())),
            Err(error) => {
                faults += 1;
                writeln!(out, "damaged: {error}")?;
            }
        }
    }
    Ok(faults)
}

fn lock(folder: &Path) -> Result<Arc<RealDirectory>, OfflineError> {
    let journal = Places::of(folder).journal;
    if !journal.is_dir() {
        return Err(OfflineError::NoStore(folder.display().to_string()));
    }
    let directory = RealDirectory::open(&journal).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => OfflineError::InUse,
        _ => OfflineError::Open(index::failed(error)),
    })?;
    Ok(Arc::new(directory))
}

fn open(folder: &Path) -> Result<(Journal, Vec<String>), OfflineError> {
    let directory = lock(folder)?;
    let mut options = Options::default();
    // Nothing is going to be written.
    options.journal.reserve = false;
    let (journal, recovery) = open_journal(directory, &options).map_err(OfflineError::Open)?;
    let damaged = recovery.damage.iter().map(ToString::to_string);
    Ok((journal, damaged.collect()))
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
        kind::CANCEL_EVENT => "cancelled event",
        kind::HANDLER_NOTE => "handler note",
        _ => "unknown",
    }
}
