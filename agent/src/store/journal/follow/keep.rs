//! Retention: what is old goes, within age and volume, whole segments at a time.
//!
//! First rows: requests past their age without anything pending. Then segments: the oldest goes
//! when nothing needs it. What is still needed in an old one is moved forward (`carry`) when that
//! pays: when less than half of the journal is needed, or the volume is used up. Then requests
//! that nothing pending belongs to go early, too. Invariants: what is pending is never deleted; a
//! segment is given up only when the index says that nothing stands in it. The work is done in
//! slices between turns of the follower, so that nobody waits for it.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hookplane_journal::{Position, SegmentInfo};

use super::super::entry;
use super::super::index::{failed, upkeep};
use super::Follower;
use crate::store::StoreError;

/// Requests that are deleted or moved in one slice.
const SLICE: u32 = 128;
/// Refused requests may take one part in so many of the volume.
const REJECTED_SHARE: u64 = 10;
/// One part in so many that the volume may be overshot while old evidence is being deleted.
const OVERSHOOT: u64 = 8;
/// Between looks for room while the store is full.
const LOOK: Duration = Duration::from_secs(1);

/// How much disk the store may take, and what is being done about it.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Volume {
    pub(in super::super) most: u64,
    /// Requests received before are past their age; set while there may be something to give up.
    work: Option<u64>,
    /// The newest segment when the volume was looked at last.
    seen: u32,
    /// Keys that expire before are not needed any more: the time of the newest request.
    pub(super) newest: u64,
    over: bool,
    looked: Instant,
}

/// What became of a slice.
enum Slice {
    More,
    Done,
}

impl Volume {
    pub(in super::super) fn new(most: u64) -> Self {
        Self {
            most,
            work: None,
            seen: 0,
            newest: 0,
            over: false,
            looked: Instant::now(),
        }
    }
}

impl Follower {
    /// Deletes the rows of old requests, and has segments given up afterwards.
    pub(super) fn retain(&mut self, before: u64, limit: u32) -> Result<u64, StoreError> {
        if !self.reach_the_end() {
            return Err(StoreError::Closed);
        }
        let old = upkeep::old_requests(&self.reader, before, limit)?;
        let gone = self.delete(old)?;
        self.indexer
            .run(move |db| upkeep::forget_repeats(db, before))?;
        self.volume.work = Some(before);
        Ok(gone)
    }

    /// One slice of what retention has to do, if anything.
    pub(super) fn tidy_up(&mut self) {
        let newest = self.parts.journal.end().unwrap_or(Position::START).segment;
        if newest != self.volume.seen {
            self.volume.seen = newest;
            self.weigh();
        }
        // What could not be given up then may be now.
        if self.volume.over && self.volume.work.is_none() && self.volume.looked.elapsed() >= LOOK {
            self.volume.looked = Instant::now();
            self.volume.work = Some(0);
        }
        let Some(before) = self.volume.work else {
            return;
        };
        match self.slice(before) {
            Ok(Slice::More) => self.parts.progress.raise(),
            Ok(Slice::Done) => {
                self.volume.work = None;
                self.weigh();
            }
            Err(error) => {
                tracing::warn!(%error, "old segments are not given up yet");
                self.parts.end_if_broken(&error);
                self.volume.work = None;
            }
        }
    }

    /// Looks at how much there is, and says who may still write.
    fn weigh(&mut self) {
        let used = self.parts.bytes_kept();
        let over = used > self.volume.most;
        if over && !self.volume.over {
            self.volume.work = self.volume.work.or(Some(0));
        }
        self.volume.over = over;
        // Far over, deleting does not keep up; it has to be waited for, even if it could go on.
        let far_over = used
            > self
                .volume
                .most
                .saturating_add(self.volume.most / OVERSHOOT);
        let full = far_over || (over && self.is_stuck_full());
        if full != self.parts.over_volume.swap(full, Ordering::Relaxed) {
            let most = self.volume.most;
            if full {
                tracing::error!(
                    used,
                    most,
                    "the store has used up its volume and takes no new requests"
                );
            } else {
                tracing::info!(used, most, "the store has room again");
            }
        }
        let share = self.volume.most / REJECTED_SHARE;
        let rejected = self.facts.kept.rejected > share;
        if rejected != self.parts.over_rejected.swap(rejected, Ordering::Relaxed) && rejected {
            tracing::warn!(
                share,
                "refused requests have used up their share of the store"
            );
        }
    }

    /// Over the volume with nothing left to give up: all that is left is needed.
    fn is_stuck_full(&self) -> bool {
        self.facts.kept.bytes > self.volume.most / 2 && self.oldest_is_all_needed()
    }

    fn oldest_is_all_needed(&self) -> bool {
        let Some(oldest) = self.sealed().first().copied() else {
            return true;
        };
        let below = behind(oldest);
        let rows = upkeep::requests_below(&self.reader, below, SLICE);
        rows.is_ok_and(|rows| !rows.is_empty() && rows.iter().all(|row| !row.free))
    }

    fn slice(&mut self, before: u64) -> Result<Slice, StoreError> {
        self.give_up()?;
        let Some(oldest) = self.sealed().first().copied() else {
            return Ok(Slice::Done);
        };
        let below = behind(oldest);
        if *self.parts.progress.indexed.borrow() < below.to_u64() {
            return Ok(Slice::Done);
        }
        let pressed = self.parts.bytes_kept() > self.volume.most;
        let rows = upkeep::requests_below(&self.reader, below, SLICE)?;
        let young = rows.iter().any(|row| row.ingested_at >= before);
        if !pressed && young {
            return Ok(Slice::Done);
        }
        let (free, needed): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.free);
        if !free.is_empty() {
            self.delete(free.into_iter().map(|row| row.id).collect())?;
            return Ok(Slice::More);
        }
        let total: u64 = self.sealed().iter().map(|segment| segment.bytes).sum();
        let pays = self.facts.kept.bytes < total / 2;
        if !needed.is_empty() && !pays {
            return Ok(Slice::Done);
        }
        let carried = self.carry(needed.into_iter().map(|row| row.id).collect(), below)?;
        Ok(if carried { Slice::More } else { Slice::Done })
    }

    /// Gives up the segments that nothing needs.
    fn give_up(&mut self) -> Result<(), StoreError> {
        let indexed = Position::from_u64(*self.parts.progress.indexed.borrow());
        let reports = self
            .parts
            .doors
            .lock()
            .spool
            .waiting
            .values()
            .min()
            .copied();
        let needed = upkeep::oldest_needed(&self.reader)?;
        let floor = needed
            .into_iter()
            .chain(reports)
            .fold(indexed, Position::min);
        let journal = &self.parts.journal;
        let goes = |segment: &&SegmentInfo| segment.sequence < floor.segment;
        let going = self.sealed().iter().filter(goes).count();
        if going == 0 {
            return Ok(());
        }
        // The single values have no row of their own that would keep a segment.
        let facts = self.facts;
        let record = entry::facts_record(facts.number, facts.last_report);
        let written = journal.append_urgent(vec![record]);
        written
            .and_then(hookplane_journal::Appending::wait)
            .map_err(failed)?;
        let gone = journal.retain_and_wait(floor).map_err(failed)?;
        tracing::info!(segments = gone, "old segments of the journal are given up");
        Ok(())
    }

    /// All segments but the one being written.
    fn sealed(&self) -> Vec<SegmentInfo> {
        let mut segments = self.parts.journal.segments();
        segments.pop();
        segments
    }

    /// Deletes the rows of requests that nothing pending belongs to.
    fn delete(&mut self, ids: Vec<String>) -> Result<u64, StoreError> {
        if ids.is_empty() {
            return Ok(0);
        }
        let doomed = self.parts.doors.doom(ids);
        // Events that were added to one of them before it was doomed are seen now.
        let settled = self.reach_the_end();
        let outcome = if settled {
            let mut facts = self.facts;
            self.indexer.run(move |db| {
                let gone = upkeep::delete(db, &doomed, &mut facts)?;
                Ok((gone, facts.kept))
            })
        } else {
            Err(StoreError::Closed)
        };
        self.parts.doors.spare();
        let (gone, kept) = outcome?;
        self.facts.kept = kept;
        self.table.facts.kept = kept;
        Ok(gone)
    }

    /// Takes in what is acknowledged by now, index included.
    pub(super) fn reach_the_end(&mut self) -> bool {
        let end = self.parts.journal.end().unwrap_or(Position::START);
        while self.scan.position() < end {
            if !self.turn() {
                break;
            }
        }
        self.settle()
    }
}

/// The place behind a segment.
const fn behind(segment: SegmentInfo) -> Position {
    Position::new(segment.sequence + 1, 0)
}
