//! The follower: goes through the journal behind its writer and keeps memory and index up with it.
//!
//! One thread, and the only one that changes what is pending. What was just written is handed to it
//! (`handed`), the rest it reads. What it does at run time is what a restart does with the tail, so
//! there is one way to get from records to a state. Refuses to
//! know what records mean (`fold`) and how rows are written (`index`). Invariants: memory is
//! never behind what it says it reflects; a table is handed to the indexer whole, with the place
//! in the journal from which a restart would go on; the indexer does one thing at a time, a table
//! or a piece of upkeep, and the follower reads on meanwhile, however that fares.

mod age;
mod carry;
mod fill;
mod fold;
mod handed;
mod keep;
mod pass;
mod reserve;
mod room;
mod stop;
mod upkeep;

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hookplane_journal::{Position, ReadError, Scan};
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::entry::{self, Counted, Entry};
use super::handover::{Handed, Payload};
use super::horizon::{Due, Lane};
use super::index::{self, failed};
use super::indexer::{EndsTheProcess, Indexer, Running};
use super::parts::Parts;
use super::table::{Facts, Table};
use crate::store::StoreError;
use age::Retaining;
pub(super) use keep::Volume;
use reserve::Reserve;
use stop::Stops;
use upkeep::Upkeep;

/// Records between two looks at everything else.
const TURN: usize = 512;
/// How long the index may name an older position than it reflects.
const IDLE: Duration = Duration::from_secs(30);
/// Rows after which a table does not wait any longer.
const ROWS: usize = 32_768;
/// Between tries of what the disk refused.
const PAUSE: Duration = Duration::from_millis(250);
/// Tries at a place of the journal that the disk cannot read.
const UNREAD: u32 = 8;
/// How long repeats are only counted in memory.
const COUNTED_FOR: Duration = Duration::from_secs(30);
/// Counts in one record.
const TALLIED: usize = 4_096;
const ORDERS: usize = 16;
/// How long closing waits for what is left to be taken in; the next start does the rest.
const FINISH: Duration = Duration::from_secs(3);

/// What the follower is asked to do besides.
pub(super) enum Order {
    /// Deletes old requests from the index and gives up segments that nothing needs.
    Retain {
        before: u64,
        /// By a clock that is trusted: what expired before is forgotten.
        now: u64,
        limit: u32,
        reply: oneshot::Sender<Result<u64, StoreError>>,
    },
    WriteCounts,
    /// Says when what follows from everything before it has been handed in.
    Rest(oneshot::Sender<()>),
    /// As a piece of upkeep that met a full disk leaves it.
    #[cfg(test)]
    FindIndexFull(SyncSender<()>),
}

pub(super) struct Follower {
    pub(super) parts: Arc<Parts>,
    pub(super) indexer: Indexer,
    /// For what is neither in the tables nor in memory.
    reader: Connection,
    orders: Receiver<Order>,
    scan: Scan,
    /// Taken over from the writer and not folded yet.
    handed: VecDeque<Handed>,
    /// As far as the journal could be read at some time.
    published: Position,
    /// Where a restart would go on.
    resume: Position,
    /// Taken in, while its head is not.
    payload: Option<Payload>,
    pub(super) table: Table,
    /// With the indexer.
    taken: Option<Arc<Table>>,
    taking: Option<Running<()>>,
    upkeep: Option<Upkeep>,
    /// Upkeep goes next, the last thing was a table.
    upkeep_next: bool,
    /// Upkeep waits until the index reflects what memory does.
    hurry: bool,
    pub(super) facts: Facts,
    /// A table waits this long for more.
    every: Duration,
    since: Instant,
    counted_since: Instant,
    /// After a failure of the index: when to try again.
    again: Option<Instant>,
    /// After a failure of upkeep, likewise.
    upkeep_again: Option<Instant>,
    pub(super) volume: Volume,
    retaining: Option<Retaining>,
    stops: Stops,
    reserve: Reserve,
    /// Where the journal could not be read, and how often.
    unread: (Position, u32),
    /// Where the newest record of counted repeats ends.
    tallied: Position,
    /// Something could not be asked or written while the store was closing: nothing behind it may
    /// be taken in, the next start does it.
    stuck: Cell<bool>,
}

pub(super) struct Start {
    pub(super) parts: Arc<Parts>,
    pub(super) connection: Connection,
    pub(super) resume: Position,
    pub(super) facts: Facts,
    pub(super) volume: Volume,
    pub(super) every: Duration,
    pub(super) lanes: Vec<(Lane, Due)>,
    pub(super) stops: index::stop::Stops,
}

impl Start {
    pub(super) fn run(self) -> Result<(SyncSender<Order>, JoinHandle<()>), StoreError> {
        let (orders, received) = sync_channel(ORDERS);
        let reader = index::reader(&self.parts.index_path)?;
        let stops = Stops::going_on(self.stops);
        {
            let mut pending = self.parts.pending();
            for (lane, first) in self.lanes {
                if stops.leaves_something(&lane.connection_id) {
                    pending.horizons.outside(lane, first);
                }
            }
            pending.stopping = stops.positions();
        }
        let indexer = Indexer::start(self.connection)?;
        let scan = self.parts.journal.scan(self.resume);
        let now = Instant::now();
        let follower = Follower {
            indexer,
            every: self.every,
            reader,
            orders: received,
            scan,
            handed: VecDeque::new(),
            published: Position::START,
            resume: self.resume,
            payload: None,
            table: Table::after(self.facts),
            taken: None,
            taking: None,
            upkeep: None,
            upkeep_next: false,
            hurry: false,
            facts: self.facts,
            since: now,
            counted_since: now,
            again: None,
            upkeep_again: None,
            volume: self.volume,
            retaining: None,
            stops,
            reserve: Reserve::beside(&self.parts.index_path),
            unread: (Position::START, 0),
            tallied: Position::START,
            stuck: Cell::new(false),
            parts: self.parts,
        };
        let thread = std::thread::Builder::new()
            .name("store-follower".to_owned())
            .spawn(move || {
                let _guard = EndsTheProcess;
                follower.run();
            })
            .map_err(failed)?;
        Ok((orders, thread))
    }
}

impl Follower {
    fn run(mut self) {
        loop {
            let more = self.turn();
            self.weigh_table();
            self.collect(Duration::ZERO);
            // In turns, so that neither waits for ever for the other.
            if self.upkeep_next {
                self.obey();
                self.maybe_take();
            } else {
                self.maybe_take();
                self.obey();
            }
            self.fill();
            if self.closing() {
                break;
            }
            if !more {
                self.parts.progress.park(self.rest());
            }
        }
        self.finish();
    }

    /// How long nothing has to be done unless somebody raises the signal.
    fn rest(&self) -> Duration {
        if self.is_indexing() || self.table.rows() == 0 {
            return PAUSE;
        }
        let due = (self.since + self.every).saturating_duration_since(Instant::now());
        due.clamp(Duration::from_millis(1), PAUSE)
    }

    pub(super) fn closing(&self) -> bool {
        self.parts.closed.load(Ordering::Acquire)
    }

    /// Takes in some of what is new. True when there may be more.
    pub(super) fn turn(&mut self) -> bool {
        for _ in 0..TURN {
            if self.stuck.get() {
                return false;
            }
            if self.table.rows() >= self.most_rows() && !self.make_room() {
                return false;
            }
            if let Some(handed) = self.next_handed() {
                self.take_handed(handed);
                continue;
            }
            match self.scan.next() {
                None => {
                    if self.payload.is_none() {
                        self.resume = self.scan.position();
                    }
                    self.publish();
                    self.parts.progress.caught_up();
                    return false;
                }
                Some(Ok(found)) => self.take_in(&found),
                Some(Err(error @ ReadError::Io(_))) => {
                    tracing::error!(%error, "the journal cannot be read; it is tried again");
                    std::thread::sleep(PAUSE);
                    self.count_unread(&error);
                    return !self.closing();
                }
                Some(Err(error)) => {
                    tracing::error!(%error, "a part of the journal is lost");
                    self.payload = None;
                }
            }
        }
        self.publish();
        true
    }

    /// After some tries at a bad sector it is passed over, if the disk takes and flushes a record:
    /// one that is gone altogether loses nothing by waiting.
    fn count_unread(&mut self, error: &ReadError) {
        let (at, before) = self.unread;
        let here = self.scan.position();
        let tries = if at == here { before + 1 } else { 1 };
        self.unread = (here, tries);
        if tries >= UNREAD && error.is_bad_sector() && self.disk_works() {
            self.unread = (here, 0);
            self.scan.pass_over();
        }
    }

    fn take_in(&mut self, found: &hookplane_journal::Entry) {
        let bytes = found.record.payload.len() as u64;
        match entry::read(&found.record) {
            Ok(Entry::Payload { headers, body }) => {
                self.payload = Some(Payload {
                    position: found.position,
                    headers,
                    body,
                    bytes,
                });
                return;
            }
            Ok(entry) => self.fold(entry, found.position, bytes),
            Err(error) => {
                let position = found.position;
                tracing::error!(%position, %error, "a record of the journal makes no sense");
            }
        }
        self.payload = None;
        if !self.stuck.get() {
            self.resume = found.next;
        }
    }

    /// Says how far memory is.
    fn publish(&mut self) {
        let applied = self.scan.position().to_u64();
        if *self.parts.progress.applied.borrow() != applied {
            // First what it says, then that it says so.
            self.parts.pending().backlog = self.facts.backlog;
            self.parts.progress.applied.send_replace(applied);
        }
    }

    /// Something is not in the index yet.
    pub(super) fn has_news(&self) -> bool {
        self.taken.is_some() || self.resume.to_u64() > *self.parts.progress.indexed.borrow()
    }

    /// The indexer has something to do.
    fn is_indexing(&self) -> bool {
        self.taken.is_some() || self.upkeep.is_some()
    }

    fn maybe_take(&mut self) {
        // Whether there is room again only a write can say, even one of nothing new.
        let asks = self.is_index_full();
        if !self.has_news() && !asks {
            self.since = Instant::now();
            self.hurry = false;
            return;
        }
        if self.is_indexing() {
            return;
        }
        let wanted = self.parts.progress.wanted() > *self.parts.progress.indexed.borrow();
        // A position alone is worth no transaction for now.
        let age = if self.table.rows() > 0 {
            self.every
        } else {
            IDLE
        };
        let due = self.since.elapsed() >= age;
        if asks || wanted || self.hurry || due || self.table.rows() >= ROWS {
            self.hand_over();
        }
    }

    /// Gives the table to the indexer.
    fn hand_over(&mut self) {
        self.hurry = false;
        self.table.resume = Some(self.resume);
        self.table.facts = self.facts;
        let table = std::mem::replace(&mut self.table, Table::after(self.facts));
        self.taken = Some(Arc::new(table));
        self.since = Instant::now();
        self.send_taken();
    }

    fn send_taken(&mut self) {
        self.again = None;
        if let Some(table) = &self.taken {
            let parts = Arc::clone(&self.parts);
            let done = move || parts.progress.raise();
            self.taking = Some(self.indexer.take(Arc::clone(table), done));
        }
    }

    /// Looks at how the indexer fares, waiting at most so long for it.
    fn collect(&mut self, wait: Duration) {
        if let Some(at) = self.again.filter(|_| self.upkeep.is_none()) {
            let left = at.saturating_duration_since(Instant::now());
            std::thread::sleep(left.min(wait));
            if left > wait {
                return;
            }
            self.send_taken();
        }
        let ended = self.taking.as_ref();
        match ended.and_then(|running| running.outcome(wait)) {
            None => {}
            Some(Ok(())) => {
                self.taking = None;
                self.upkeep_next = true;
                self.set_index_full(false);
                let resume = self.taken.take().and_then(|table| table.resume);
                if let Some(resume) = resume {
                    self.parts.progress.indexed.send_replace(resume.to_u64());
                }
            }
            Some(Err(error)) => {
                self.taking = None;
                drop(self.index_failed(error));
                self.again = Some(Instant::now() + PAUSE);
            }
        }
        self.collect_upkeep(wait);
    }

    fn index_failed(&mut self, error: rusqlite::Error) -> StoreError {
        tracing::error!(%error, "the index cannot be written; it is tried again");
        let full = error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull);
        let error = failed(error);
        self.parts.end_if_broken(&error);
        if full {
            // What becomes free now is the index's: without it nothing more could be deleted.
            self.set_index_full(true);
            self.reserve.release();
        }
        error
    }

    /// Everything taken in so far is in the index. False when that takes longer.
    fn settle(&mut self, by: Instant) -> bool {
        while !self.stuck.get() && Instant::now() < by {
            if !self.is_indexing() {
                if !self.has_news() {
                    return true;
                }
                self.hand_over();
            }
            let left = by.saturating_duration_since(Instant::now());
            self.collect(left.min(PAUSE));
        }
        false
    }

    fn obey(&mut self) {
        let mut resting = Vec::new();
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Order::Retain {
                    before,
                    now,
                    limit,
                    reply,
                } => self.begin_retaining(before, now, limit, reply),
                Order::WriteCounts => self.write_counts(),
                Order::Rest(reply) => resting.push(reply),
                #[cfg(test)]
                Order::FindIndexFull(told) => {
                    self.set_index_full(true);
                    told.send(()).ok();
                }
            }
        }
        if self.counted_since.elapsed() >= COUNTED_FOR {
            self.write_counts();
        }
        self.tidy_up();
        for reply in resting {
            // Who asked may be gone.
            reply.send(()).ok();
        }
    }

    /// Repeats that were only counted go into a record, a very long list into several.
    fn write_counts(&mut self) {
        self.counted_since = Instant::now();
        let counted = std::mem::take(&mut self.parts.doors.lock().counted);
        let counted: Vec<(Counted, u64)> = counted.into_iter().collect();
        let mut failed = false;
        for part in counted.chunks(TALLIED) {
            // After one that failed the others would, too.
            failed = failed || !self.write_tally(part);
            if failed {
                let mut inside = self.parts.doors.lock();
                for (of, count) in part {
                    *inside.counted.entry(of.clone()).or_default() += count;
                }
            }
        }
    }

    fn write_tally(&mut self, counted: &[(Counted, u64)]) -> bool {
        let record = entry::tally_record(counted);
        let appending = self.parts.journal.append(vec![record]);
        match appending.and_then(hookplane_journal::Appending::wait) {
            Ok(positions) => {
                self.tallied = positions.first().copied().unwrap_or(self.tallied);
                true
            }
            Err(error) => {
                tracing::debug!(%error, "counted repeats are not written yet");
                false
            }
        }
    }

    /// Takes in what is left, as far as it does not take long, and closes journal and index.
    fn finish(mut self) {
        self.write_counts();
        self.parts.journal.close();
        let by = Instant::now() + FINISH;
        while Instant::now() < by && self.turn() {}
        if !self.settle(by) {
            tracing::warn!("the index stays behind; the next start catches up");
        }
        self.indexer.end(by);
    }
}
