//! Opening: journal, index, and what has to be known before the first request.
//!
//! Owns the bounds of the store and the order of the steps. Nothing here waits for the index to
//! catch up: the tail of the journal is read once for messages, number and reports.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use hookplane_journal::io::{Directory, RealDirectory, volume_bytes};
use hookplane_journal::{Journal, Options as JournalOptions, Position, ReadError, Recovery};
use rusqlite::Connection;

use super::doors::{Doors, SpoolState};
use super::entry::{self, Entry, Undecodable, kind};
use super::filter::Filter;
use super::follow::{Start, Volume};
use super::index::{self, Readers, State, failed};
use super::parts::Parts;
use super::{Handle, JournalStore};
use crate::store::StoreError;

/// Tries at a place of the tail that the disk cannot read.
const TRIES: u32 = 3;
const INDEX_EVERY: Duration = Duration::from_secs(1);
const SEGMENT_BYTES: u32 = 32 << 20;
/// A body of 16 MiB with its headers, or a request that is moved with its tries.
const BATCH_BYTES: usize = 20 << 20;
/// Keys put into the filter under one lock.
const LOADED_AT_ONCE: usize = 1_024;

/// Bounds of a store.
#[derive(Clone, Debug)]
pub struct Options {
    pub journal: JournalOptions,
    /// Bytes on disk past which evidence goes early and, if nothing can go, new requests are
    /// refused. `None`: 80 % of the file system.
    pub most_bytes: Option<u64>,
    /// How long the index may stay behind while nobody asks it: later is less to write.
    pub index_every: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            journal: JournalOptions {
                segment_bytes: SEGMENT_BYTES,
                batch_bytes: BATCH_BYTES,
                ..JournalOptions::default()
            },
            most_bytes: None,
            index_every: INDEX_EVERY,
        }
    }
}

/// Where the parts of a store stand in its folder.
pub(super) struct Places {
    pub(super) journal: PathBuf,
    pub(super) index: PathBuf,
}

impl Places {
    pub(super) fn of(folder: &Path) -> Self {
        Self {
            journal: folder.join("journal"),
            index: folder.join("index.db"),
        }
    }
}

impl JournalStore {
    /// Opens or creates the store in a folder.
    ///
    /// # Errors
    /// `Unavailable` when the files cannot be used, or were written by a newer release.
    pub fn open(folder: &Path, options: &Options) -> Result<Self, StoreError> {
        let places = Places::of(folder);
        let directory = RealDirectory::open(&places.journal).map_err(failed)?;
        let most = match options.most_bytes {
            Some(most) => most,
            None => volume_bytes(&places.journal).map_err(failed)? / 5 * 4,
        };
        Self::open_on(Arc::new(directory), &places.index, options, most)
    }

    /// Opens a store with its journal in this directory and its index in a file elsewhere.
    /// `most` is the volume in bytes.
    ///
    /// # Errors
    /// As [`JournalStore::open`].
    pub fn open_on(
        directory: Arc<dyn Directory>,
        index_path: &Path,
        options: &Options,
        most: u64,
    ) -> Result<Self, StoreError> {
        let (journal, recovery) = open_journal(directory, options)?;
        for damage in &recovery.damage {
            tracing::error!(%damage, "the journal is damaged");
        }
        let (connection, state) = open_index(&journal, index_path)?;
        let resume = state.resume.unwrap_or(Position::START);
        let mut filter = Filter::new(state.facts.latest_expiry);
        let mut spool = state.spool;
        let mut number = state.facts.number;
        read_tail(&journal, resume, &mut filter, &mut spool, &mut number)?;
        let doors = Doors::new(filter, spool, number);
        let damaged = recovery.damage.iter().map(ToString::to_string);
        let parts = Arc::new(Parts::new(
            journal,
            damaged.collect(),
            Arc::clone(&doors),
            Readers::open(index_path)?,
            index_path.to_owned(),
            resume,
            state.facts.backlog,
        ));
        let start = Start {
            parts: Arc::clone(&parts),
            connection,
            resume,
            facts: state.facts,
            volume: Volume::new(most),
            every: options.index_every,
            lanes: state.lanes,
            stops: state.stops,
        };
        let (orders, follower) = start.run()?;
        let handle = Arc::new(Handle {
            parts: Arc::clone(&parts),
            orders,
            threads: Mutex::new(vec![follower]),
        });
        if state.facts.latest_expiry > 0 {
            let loader = load_filter(parts, index::reader(index_path)?)?;
            handle.threads().push(loader);
        }
        Ok(Self { handle })
    }
}

pub(super) fn open_journal(
    directory: Arc<dyn Directory>,
    options: &Options,
) -> Result<(Journal, Recovery), StoreError> {
    Journal::open(directory, options.journal.clone(), rand::random).map_err(failed)
}

/// Opens the index, and makes an empty one when it is not of this journal.
fn open_index(journal: &Journal, path: &Path) -> Result<(Connection, State), StoreError> {
    let (connection, state) = index::open(path)?;
    let Some(resume) = state.resume else {
        return Ok((connection, state));
    };
    let end = journal.end().unwrap_or(Position::START);
    let oldest = journal.oldest().unwrap_or(Position::START);
    if resume <= end && resume.segment >= oldest.segment {
        return Ok((connection, state));
    }
    tracing::warn!(%resume, %oldest, %end, "the index is not of this journal and is made again");
    drop(connection);
    index::remove(path)?;
    index::open(path)
}

/// What has to be known of the records behind the index.
fn read_tail(
    journal: &Journal,
    resume: Position,
    filter: &mut Filter,
    spool: &mut SpoolState,
    number: &mut Option<u32>,
) -> Result<(), StoreError> {
    let mut records = 0_u64;
    let mut scan = journal.scan(resume);
    let mut tries = 0;
    while let Some(found) = scan.next() {
        let found = match found {
            Ok(found) => found,
            // The follower finds out whether to pass over it, too; requests are accepted meanwhile.
            Err(error) if error.is_bad_sector() => {
                tries += 1;
                if tries % TRIES == 0 {
                    scan.pass_over();
                }
                continue;
            }
            Err(ReadError::Io(error)) => return Err(failed(error)),
            // Reported by the follower, which finds it, too.
            Err(_) => continue,
        };
        records += 1;
        match take_in(&found, filter, spool, number) {
            Ok(()) => {}
            // The follower leaves it out, too.
            Err(error @ Undecodable::Malformed { .. }) => {
                let position = found.position;
                tracing::error!(%position, %error, "a record of the journal makes no sense");
            }
            // Nothing of a newer release may be passed over.
            Err(error) => return Err(failed(error)),
        }
    }
    tracing::debug!(records, "the tail of the journal is read");
    Ok(())
}

fn take_in(
    found: &hookplane_journal::Entry,
    filter: &mut Filter,
    spool: &mut SpoolState,
    number: &mut Option<u32>,
) -> Result<(), Undecodable> {
    let record = &found.record;
    match record.kind {
        kind::REQUEST => {
            if let Some((key, expires_at)) = entry::key_of_head(record)? {
                filter.insert(&key, expires_at);
            }
        }
        kind::KEYS | kind::NUMBER | kind::FACTS | kind::REPORT | kind::ACKNOWLEDGED => {
            match entry::read(record)? {
                Entry::Keys(keys) => {
                    for entry in keys {
                        filter.insert(&entry.key, entry.expires_at);
                    }
                }
                Entry::Number(given) => *number = number.or(Some(given)),
                Entry::Facts {
                    number: given,
                    last_report,
                } => {
                    *number = number.or(given);
                    spool.last = spool.last.max(last_report);
                }
                Entry::Report { sequence, .. } => {
                    spool.last = spool.last.max(sequence);
                    spool.put(sequence, &Ok(vec![found.position]));
                }
                Entry::Acknowledged(up_to) => spool.drop_to(up_to),
                _ => {}
            }
        }
        _ => entry::check(record)?,
    }
    Ok(())
}

/// Puts the messages that the index knows into the filter, in the background.
fn load_filter(parts: Arc<Parts>, reader: Connection) -> Result<JoinHandle<()>, StoreError> {
    let load = move || {
        let mut batch = Vec::with_capacity(LOADED_AT_ONCE);
        let put = |batch: &mut Vec<_>| {
            let mut inside = parts.doors.lock();
            for (key, expires_at) in batch.drain(..) {
                inside.filter.insert_older(&key, expires_at);
            }
            inside.filter.has_room() && !parts.closed.load(Ordering::Acquire)
        };
        let whole = index::upkeep::each_key(&reader, |key, expires_at| {
            batch.push((key, expires_at));
            batch.len() < LOADED_AT_ONCE || put(&mut batch)
        });
        put(&mut batch);
        match whole {
            _ if parts.closed.load(Ordering::Acquire) => {}
            Ok(true) => parts.doors.lock().filter.is_complete(),
            Ok(false) => tracing::info!("there are more known messages than fit memory"),
            Err(error) => {
                tracing::warn!(%error, "known messages are looked up one by one");
                parts.end_if_broken(&error);
            }
        }
    };
    std::thread::Builder::new()
        .name("store-filter".to_owned())
        .spawn(load)
        .map_err(failed)
}
