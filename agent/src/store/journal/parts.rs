//! What the handles, the follower and the indexer share.
//!
//! Owns the lock over what is pending and how far the store has got. Invariant: an event whose
//! completion was handed in is not given out as due again, even before the follower has seen it.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::Duration;

use hookplane_journal::{Journal, Position};
use tokio::sync::watch;

use super::bodies::Bodies;
use super::doors::Doors;
use super::handover::Handover;
use super::horizon::Horizons;
use super::index::Readers;
use super::index::books::Books;
use super::payloads::Unread;
use super::table::Backlog;
use crate::store::StoreError;
use crate::store::feed::Feed;

/// How long a question waits for what was just written.
const CATCH_UP: Duration = Duration::from_secs(10);
/// How long a look at what is due waits for what was just written.
const FRESH: Duration = Duration::from_secs(1);
/// How long it waits for memory to be filled up from the index.
const FILLING: Duration = Duration::from_secs(1);
/// Segments that the follower may be behind before new requests are refused.
const LAG_SEGMENTS: u32 = 8;
/// Results of cancelling kept for who asked.
const CANCELLED_KEPT: usize = 64;

pub(super) struct Parts {
    pub(super) journal: Journal,
    /// What was found to be lost at opening.
    pub(super) damaged: Vec<String>,
    pub(super) doors: Arc<Doors>,
    pub(super) readers: Readers,
    pub(super) feed: Feed,
    pub(super) progress: Progress,
    pub(super) handover: Handover,
    pub(super) index_path: PathBuf,
    /// End of the journal when it was opened: what is older is no news.
    pub(super) opened_at: Position,
    pub(super) closed: AtomicBool,
    /// The volume is used up: only what takes evidence away is written.
    pub(super) over_volume: AtomicBool,
    /// The index is late, and what it does not know takes its room.
    pub(super) table_full: AtomicBool,
    /// Refused requests take their share of the volume.
    pub(super) over_rejected: AtomicBool,
    /// Bytes of the index that hold something.
    index_used: AtomicU64,
    /// How far the check of the books is.
    pub(super) books: Mutex<Books>,
    unread: Mutex<Unread>,
    pending: Mutex<Pending>,
}

#[derive(Default)]
pub(super) struct Pending {
    pub(super) horizons: Horizons,
    pub(super) bodies: Bodies,
    pub(super) backlog: Backlog,
    /// Events whose completion was handed in and not seen by the follower yet.
    unapplied: HashMap<String, u32>,
    /// Cancelling records handed in and not seen by the follower yet.
    pub(super) cancelling: u32,
    /// Connections whose events are being stopped, with the place of the record that does it;
    /// without those on which something became pending since.
    pub(super) stopping: HashMap<String, Position>,
    /// Where a cancelling record stands and how many events it stopped.
    pub(super) cancelled: VecDeque<(Position, u64)>,
}

/// How far the journal has been taken in.
pub(super) struct Progress {
    /// What memory reflects.
    pub(super) applied: watch::Sender<u64>,
    /// What the index reflects.
    pub(super) indexed: watch::Sender<u64>,
    /// Counts the times that horizons were filled up.
    filled: watch::Sender<u64>,
    /// Somebody waited for that in vain lately; the next ones do not wait for it.
    fills_late: AtomicBool,
    /// Counts the times that stopping a connection came to its end.
    pub(super) stopped: watch::Sender<u64>,
    /// What somebody waits for the index to reflect.
    wanted: AtomicU64,
    /// The follower came close to the journal's end once since opening.
    reached: AtomicBool,
    /// The follower did not keep up lately; looks at what is due do not wait for it.
    behind: AtomicBool,
    follower: OnceLock<Thread>,
    raised: AtomicBool,
}

impl Progress {
    pub(super) fn new(resume: Position) -> Self {
        Self {
            applied: watch::Sender::new(0),
            indexed: watch::Sender::new(resume.to_u64()),
            filled: watch::Sender::new(0),
            fills_late: AtomicBool::new(false),
            stopped: watch::Sender::new(0),
            wanted: AtomicU64::new(0),
            reached: AtomicBool::new(false),
            behind: AtomicBool::new(false),
            follower: OnceLock::new(),
            raised: AtomicBool::new(false),
        }
    }

    /// There is something to do for the follower.
    pub(super) fn raise(&self) {
        if !self.raised.swap(true, Ordering::AcqRel)
            && let Some(follower) = self.follower.get()
        {
            follower.unpark();
        }
    }

    /// The follower's wait; the first call says who the follower is.
    pub(super) fn park(&self, longest: Duration) {
        self.follower.get_or_init(std::thread::current);
        if !self.raised.swap(false, Ordering::AcqRel) {
            std::thread::park_timeout(longest);
            // Takes in what was set before the signal was raised.
            self.raised.swap(false, Ordering::AcqRel);
        }
    }

    pub(super) fn has_filled(&self) {
        self.fills_late.store(false, Ordering::Relaxed);
        self.filled
            .send_modify(|times| *times = times.wrapping_add(1));
    }

    /// Subscribed to before a look at what is due, so that no filling after it is missed.
    pub(super) fn fillings(&self) -> watch::Receiver<u64> {
        let mut filled = self.filled.subscribe();
        filled.mark_unchanged();
        filled
    }

    /// Waits for the next filling. False when it does not come soon: of many who look one waits.
    pub(super) async fn next_filling(&self, mut fillings: watch::Receiver<u64>) -> bool {
        if self.fills_late.load(Ordering::Relaxed) {
            return false;
        }
        self.raise();
        let came = tokio::time::timeout(FILLING, fillings.changed()).await;
        let late = came.is_err();
        self.fills_late.fetch_or(late, Ordering::Relaxed);
        !late
    }

    pub(super) fn wanted(&self) -> u64 {
        self.wanted.load(Ordering::Acquire)
    }

    pub(super) fn caught_up(&self) {
        self.behind.store(false, Ordering::Relaxed);
        self.reached.store(true, Ordering::Release);
    }

    /// Before that the index may lack messages that are far from new.
    pub(super) fn has_caught_up(&self) -> bool {
        self.reached.load(Ordering::Acquire)
    }
}

impl Parts {
    pub(super) fn new(
        journal: Journal,
        damaged: Vec<String>,
        doors: Arc<Doors>,
        readers: Readers,
        index_path: PathBuf,
        resume: Position,
        backlog: Backlog,
    ) -> Self {
        let opened_at = journal.end().unwrap_or(Position::START);
        Self {
            journal,
            damaged,
            doors,
            readers,
            feed: Feed::new(),
            progress: Progress::new(resume),
            handover: Handover::default(),
            index_used: AtomicU64::new(length(&index_path)),
            index_path,
            opened_at,
            closed: AtomicBool::new(false),
            over_volume: AtomicBool::new(false),
            table_full: AtomicBool::new(false),
            over_rejected: AtomicBool::new(false),
            books: Mutex::default(),
            unread: Mutex::default(),
            pending: Mutex::new(Pending {
                backlog,
                ..Pending::default()
            }),
        }
    }

    pub(super) fn unread(&self) -> MutexGuard<'_, Unread> {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be told every failure of the index.
    pub(super) fn end_if_broken(&self, error: &StoreError) {
        super::index::end_if_broken(&self.index_path, error);
    }

    /// Journal, spare files and index, its log included.
    pub(super) fn bytes_on_disk(&self) -> u64 {
        let mut log = self.index_path.as_os_str().to_owned();
        log.push("-wal");
        self.journal.size_on_disk() + length(&self.index_path) + length(log.as_ref())
    }

    /// What needs its place: as `bytes_on_disk`, without the log and free pages of the index.
    pub(super) fn bytes_kept(&self) -> u64 {
        self.journal.size_on_disk() + self.index_used.load(Ordering::Relaxed)
    }

    /// What the index was told is on stable storage afterwards.
    pub(super) fn flush_index(&self) -> std::io::Result<()> {
        let mut log = self.index_path.as_os_str().to_owned();
        log.push("-wal");
        std::fs::File::open(&self.index_path)?.sync_all()?;
        std::fs::File::open(log)?.sync_all()
    }

    pub(super) fn note_index(&self, used: u64) {
        self.index_used.store(used, Ordering::Relaxed);
    }

    /// Whether new requests may be written.
    pub(super) fn admits(&self, rejected: bool) -> Result<(), StoreError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(StoreError::Closed);
        }
        let refuses = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
        let full = refuses(&self.over_volume) || refuses(&self.table_full);
        if self.lags() || full || (rejected && refuses(&self.over_rejected)) {
            return Err(StoreError::Busy);
        }
        Ok(())
    }

    /// Whether the follower does not keep up. That it has not come through what it found at opening
    /// is no reason to refuse anything: nothing of that waits in memory.
    fn lags(&self) -> bool {
        let applied = Position::from_u64(*self.progress.applied.borrow());
        let newest = self.journal.end().unwrap_or(Position::START).segment;
        let far = applied.segment + LAG_SEGMENTS < newest;
        if !far && applied >= self.opened_at {
            self.progress.reached.store(true, Ordering::Release);
        }
        far && self.progress.has_caught_up()
    }

    fn end(&self) -> u64 {
        self.journal.end().unwrap_or(Position::START).to_u64()
    }

    /// Waits until the index reflects everything acknowledged by now.
    pub(super) async fn indexed(&self) -> Result<(), StoreError> {
        let end = self.end();
        let mut indexed = self.progress.indexed.subscribe();
        if *indexed.borrow() >= end {
            return Ok(());
        }
        self.progress.wanted.fetch_max(end, Ordering::AcqRel);
        self.progress.raise();
        let reached = indexed.wait_for(|indexed| *indexed >= end);
        match tokio::time::timeout(CATCH_UP, reached).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(StoreError::Closed),
            Err(_) => Err(StoreError::Busy),
        }
    }

    /// Waits until memory reflects everything acknowledged by now.
    pub(super) async fn applied(&self) -> Result<(), StoreError> {
        let end = self.end();
        let mut applied = self.progress.applied.subscribe();
        let reached = applied.wait_for(|applied| *applied >= end);
        match tokio::time::timeout(CATCH_UP, reached).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(StoreError::Closed),
            Err(_) => Err(StoreError::Busy),
        }
    }

    /// As `applied`, but goes on with what there is when the follower cannot keep up. What the
    /// last run left is waited for in any case: it may say that something is delivered.
    pub(super) async fn fresh(&self) -> Result<(), StoreError> {
        let end = self.end();
        let needed = self.opened_at.to_u64();
        let mut applied = self.progress.applied.subscribe();
        let now = *applied.borrow();
        if now >= end {
            return Ok(());
        }
        if now >= needed && self.progress.behind.load(Ordering::Relaxed) {
            return Ok(());
        }
        let reached = applied.wait_for(|applied| *applied >= end);
        match tokio::time::timeout(FRESH, reached).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(StoreError::Closed),
            Err(_) if *self.progress.applied.borrow() >= needed => {
                self.progress.behind.store(true, Ordering::Relaxed);
                Ok(())
            }
            Err(_) => Err(StoreError::Busy),
        }
    }
}

/// Absent is empty: the log of the index is, after a clean close.
fn length(path: &std::path::Path) -> u64 {
    std::fs::metadata(path).map_or(0, |file| file.len())
}

impl Pending {
    pub(super) fn handed_in(&mut self, event_id: &str) {
        *self.unapplied.entry(event_id.to_owned()).or_default() += 1;
    }

    /// The completion was seen, or never will be.
    pub(super) fn settled(&mut self, event_id: &str) {
        if let Some(count) = self.unapplied.get_mut(event_id) {
            *count -= 1;
            if *count == 0 {
                self.unapplied.remove(event_id);
            }
        }
    }

    pub(super) fn is_unapplied(&self, event_id: &str) -> bool {
        self.unapplied.contains_key(event_id)
    }

    /// A cancelling record of this run was seen.
    pub(super) fn cancel_seen(&mut self) {
        self.cancelling = self.cancelling.saturating_sub(1);
    }

    pub(super) fn note_cancelled(&mut self, at: Position, count: u64) {
        if self.cancelled.len() == CANCELLED_KEPT {
            self.cancelled.pop_front();
        }
        self.cancelled.push_back((at, count));
    }
}
