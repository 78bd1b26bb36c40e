//! Retention by volume: whole segments go, the oldest first.
//!
//! The oldest goes when nothing needs it. What is still needed in it is moved forward (`carry`)
//! when that pays: when less than half of what the journal holds is needed or, if the volume is
//! used up, as long as what is pending leaves a quarter of it. Past that the store is full, and
//! new requests are refused until deliveries make room. Under that pressure requests that nothing
//! pending belongs to go before their age, those of the oldest segment first. How much is pending
//! is estimated from requests all over the journal, exactly while they are few. Invariants: what
//! is pending is never deleted; a segment is given up only when the index says that nothing stands
//! in it. All of it is done in slices between tables, and none waits for the index.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hookplane_journal::{AppendError, Appending, Position, SegmentInfo};

use super::super::entry;
use super::super::index::upkeep::KeyBelow;
use super::super::index::{failed, upkeep};
use super::Follower;
use super::age::Walk;
use super::carry::ATTEMPTS;
use super::pass::{Pass, leaves_too_little};
use crate::store::StoreError;

/// Requests that are looked at in one slice.
const LOOKED_AT: u32 = 512;
/// Requests that are deleted or moved in one slice.
pub(super) const SLICE: u32 = 128;
/// Segments that are given up in one slice.
const SEGMENTS: usize = 4;
/// Refused requests may take one part in so many of the volume.
const REJECTED_SHARE: u64 = 10;
/// One part in so many that the volume may be overshot while old evidence is being deleted.
const OVERSHOOT: u64 = 8;
/// Between looks for room while the store is full.
const LOOK: Duration = Duration::from_secs(1);
/// How long an estimate of what is pending counts.
const ESTIMATE: Duration = Duration::from_secs(2);
/// Places in the journal that an estimate looks at, and requests at each.
const PLACES: u64 = 128;
const AT_EACH: u32 = 32;
/// Of a try, before the first one was seen.
const TRY_BYTES: u64 = 1_024;

/// How much disk the store may take, and what is being done about it.
#[derive(Clone, Debug)]
pub(in super::super) struct Volume {
    pub(in super::super) most: u64,
    /// Requests received before are past their age; set while there may be something to give up.
    pub(super) work: Option<u64>,
    pub(super) walk: Walk,
    /// Keys that expire before are not needed any more.
    pub(super) now: u64,
    /// The newest segment when the volume was looked at last.
    seen: u32,
    over: bool,
    /// The index finds no room on the disk.
    index_full: bool,
    /// Nothing can be given up before something is delivered.
    stuck: bool,
    looked: Instant,
    pub(super) pages_looked: Instant,
    /// In the oldest segment nothing below is free.
    cursor: Position,
    /// What was moved stands below: the index has to reflect it before more is done.
    pub(super) after: Position,
    /// Whether what is pending leaves too little room, and when that was found.
    crowded: Option<(Instant, bool)>,
    /// Bytes of what is pending, by the same estimate.
    pending: u64,
    /// What moving came to since it began, and whether that was in vain.
    pub(super) pass: Pass,
    /// Known messages that were moved, and below what they need not stand any more.
    pub(super) moved_keys: Option<(Vec<KeyBelow>, Position)>,
    /// Bytes moved since a segment was given up, some of it perhaps into the reserve.
    pub(super) borrowed: u64,
    /// Bytes of a try, on average.
    pub(super) try_bytes: u64,
}

/// What became of a slice.
pub(super) enum Slice {
    /// Something was done, or is being done, and there may be more.
    More,
    /// The index has to catch up first.
    Later,
    Done,
}

impl Volume {
    pub(in super::super) fn new(most: u64) -> Self {
        Self {
            most,
            work: None,
            walk: Walk::new(),
            now: 0,
            seen: 0,
            over: false,
            index_full: false,
            stuck: false,
            looked: Instant::now(),
            pages_looked: Instant::now(),
            cursor: Position::START,
            after: Position::START,
            crowded: None,
            pending: 0,
            pass: Pass::default(),
            moved_keys: None,
            borrowed: 0,
            try_bytes: TRY_BYTES,
        }
    }
}

impl Follower {
    /// Whether there is something to do about it.
    pub(super) fn look_at_volume(&mut self) {
        let newest = self.parts.journal.end().unwrap_or(Position::START).segment;
        if newest != self.volume.seen {
            self.volume.seen = newest;
            self.tell_facts();
            self.weigh();
        }
        // What could not be given up then may be now.
        let short = self.volume.over || self.volume.index_full;
        if short && self.volume.work.is_none() && self.volume.looked.elapsed() >= LOOK {
            self.volume.looked = Instant::now();
            self.volume.work = Some(0);
        }
    }

    pub(super) fn set_index_full(&mut self, full: bool) {
        if self.volume.index_full != full {
            self.volume.index_full = full;
            if full {
                self.volume.work = self.volume.work.or(Some(0));
            }
            self.weigh();
        }
    }

    /// Upkeep goes on beside a table that the disk has no room for: it makes that room.
    pub(super) fn is_index_full(&self) -> bool {
        self.volume.index_full
    }

    /// One slice of what has to be given up. False when there is nothing, or not now.
    pub(super) fn volume_slice(&mut self) -> bool {
        let Some(before) = self.volume.work else {
            return false;
        };
        match self.slice(before) {
            Ok(Slice::More) => true,
            Ok(Slice::Later) => {
                self.hurry = true;
                false
            }
            Ok(Slice::Done) => {
                self.volume.work = None;
                self.volume.cursor = Position::START;
                self.weigh();
                false
            }
            Err(error) => {
                tracing::warn!(%error, "old segments are not given up yet");
                self.parts.end_if_broken(&error);
                self.volume.work = None;
                self.volume.cursor = Position::START;
                false
            }
        }
    }

    /// Looks at how much there is, and says who may still write.
    fn weigh(&mut self) {
        self.look_at_pages();
        let used = self.parts.bytes_kept();
        let most = self.volume.most;
        let over = used > most;
        if over && !self.volume.over {
            self.volume.work = self.volume.work.or(Some(0));
        }
        self.volume.over = over;
        self.volume.stuck &= over;
        // Far over, deleting does not keep up; it has to be waited for, even if it could go on.
        let far_over = used > most.saturating_add(most / OVERSHOOT);
        let full = far_over || self.volume.stuck || self.volume.index_full;
        if full != self.parts.over_volume.swap(full, Ordering::Relaxed) {
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
        let share = most / REJECTED_SHARE;
        let rejected = self.facts.kept.rejected > share;
        if rejected != self.parts.over_rejected.swap(rejected, Ordering::Relaxed) && rejected {
            tracing::warn!(
                share,
                "refused requests have used up their share of the store"
            );
        }
    }

    fn slice(&mut self, before: u64) -> Result<Slice, StoreError> {
        let indexed = Position::from_u64(*self.parts.progress.indexed.borrow());
        if indexed < self.volume.after && self.has_news() {
            return Ok(Slice::Later);
        }
        if self.give_up(indexed)? {
            self.weigh();
            return Ok(Slice::More);
        }
        let Some(oldest) = self.sealed().first().copied() else {
            return Ok(Slice::Done);
        };
        let below = behind(oldest);
        if indexed < below {
            let more = self.has_news();
            return Ok(if more { Slice::Later } else { Slice::Done });
        }
        let pressed = self.volume.index_full || self.parts.bytes_kept() > self.volume.most;
        if !pressed {
            self.volume.pass = Pass::default();
        } else if self.is_crowded()? || self.moves_in_vain(oldest) {
            return self.clear_front(below);
        }
        self.volume.stuck = false;
        if self.volume.cursor < below {
            return self.clear(before, below, pressed);
        }
        let rows = upkeep::requests_between(&self.reader, Position::START, below, SLICE)?;
        // Delivered since they were passed, or not to be deleted then.
        let free = rows.iter().filter(|row| row.free);
        let free: Vec<String> = free.map(|row| row.id.clone()).collect();
        if !free.is_empty() && self.delete(free) {
            return Ok(Slice::More);
        }
        let total: u64 = self.sealed().iter().map(|segment| segment.bytes).sum();
        let pays = pressed || self.facts.kept.bytes < total / 2;
        if !rows.is_empty() && !pays {
            return Ok(Slice::Done);
        }
        self.carry(rows, below)
    }

    /// Deletes what is free in the oldest segment, from the cursor on.
    fn clear(&mut self, before: u64, below: Position, pressed: bool) -> Result<Slice, StoreError> {
        let from = self.volume.cursor;
        let rows = upkeep::requests_between(&self.reader, from, below, LOOKED_AT)?;
        if !pressed && rows.iter().any(|row| row.ingested_at >= before) {
            return Ok(Slice::Done);
        }
        let (mut passed, mut free) = (below, Vec::new());
        for (count, row) in rows.into_iter().enumerate() {
            if free.len() == SLICE as usize || count + 1 == LOOKED_AT as usize {
                passed = row.position;
                break;
            }
            if row.free {
                free.push(row.id);
            }
        }
        self.volume.cursor = passed;
        if !free.is_empty() {
            self.delete(free);
        }
        Ok(Slice::More)
    }

    /// Moving does not pay: deletes what is free up to the first request that is needed.
    fn clear_front(&mut self, below: Position) -> Result<Slice, StoreError> {
        let rows = upkeep::requests_between(&self.reader, Position::START, below, SLICE)?;
        if rows.is_empty() {
            return self.carry(rows, below);
        }
        let front = rows.into_iter().take_while(|row| row.free);
        let free: Vec<String> = front.map(|row| row.id).collect();
        if free.is_empty() {
            self.volume.stuck = true;
            return Ok(Slice::Done);
        }
        let begun = self.delete(free);
        Ok(if begun { Slice::More } else { Slice::Done })
    }

    /// Whether moving everything once did not make room. Asked behind `is_crowded`, which estimates.
    fn moves_in_vain(&mut self, oldest: SegmentInfo) -> bool {
        let newest = self.parts.journal.end().unwrap_or(Position::START).segment;
        let pending = self.volume.pending;
        let stretch = (oldest.sequence, newest);
        self.volume
            .pass
            .is_in_vain(stretch, pending, Instant::now())
    }

    /// Whether what is pending takes so much of the volume that moving it makes too little room.
    fn is_crowded(&mut self) -> Result<bool, StoreError> {
        if let Some((at, crowded)) = self.volume.crowded
            && at.elapsed() < ESTIMATE
        {
            return Ok(crowded);
        }
        let segments = self.parts.journal.segments();
        let places = stretches(&segments);
        let tries = (ATTEMPTS as u64, self.volume.try_bytes);
        let seen = upkeep::sample(&self.reader, &places, AT_EACH, tries)?;
        let share = u128::from(self.facts.kept.bytes) * u128::from(seen.pending);
        let pending = share / u128::from(seen.bytes.max(1));
        let in_segments: u64 = segments.iter().map(|segment| segment.bytes).sum();
        let besides = self.parts.bytes_kept().saturating_sub(in_segments);
        let room = self.volume.most.saturating_sub(besides);
        let whole = segments.iter().map(|segment| segment.bytes).max();
        let crowded = leaves_too_little(pending, room.into(), whole.unwrap_or(1).into());
        self.volume.pending = u64::try_from(pending).unwrap_or(u64::MAX);
        self.volume.crowded = Some((Instant::now(), crowded));
        Ok(crowded)
    }

    /// Gives up some of the segments that nothing needs. False when there are none.
    fn give_up(&mut self, indexed: Position) -> Result<bool, StoreError> {
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
        let mut floor = needed
            .into_iter()
            .chain(reports)
            .fold(indexed, Position::min);
        let sealed = self.sealed();
        if let Some(last) = sealed.get(SEGMENTS - 1) {
            floor = floor.min(behind(*last));
        }
        let told = Position::from_u64(self.facts.told_at);
        let unneeded = |floor: Position| {
            sealed
                .first()
                .is_some_and(|one| one.sequence < floor.segment)
        };
        if unneeded(floor) && self.has_facts() && told.segment < floor.segment {
            // The single values have no row of their own that would keep a segment.
            match self.write_facts().and_then(Appending::wait) {
                Ok(_) => {}
                // No room before something has gone: the index keeps them until the next record.
                Err(AppendError::Full(_)) => {
                    self.parts.flush_index().map_err(failed)?;
                    self.volume.seen = 0;
                }
                Err(error) => return Err(failed(error)),
            }
        }
        if !unneeded(floor) {
            return Ok(false);
        }
        let gone = self.parts.journal.retain_and_wait(floor).map_err(failed)?;
        let bytes = sealed.iter().take(gone).map(|segment| segment.bytes);
        self.volume.pass.given_up += bytes.sum::<u64>();
        tracing::info!(segments = gone, "old segments of the journal are given up");
        self.volume.cursor = Position::START;
        if gone > 0 {
            self.volume.borrowed = 0;
        }
        Ok(gone > 0)
    }

    fn has_facts(&self) -> bool {
        self.facts.number.is_some() || self.facts.last_report > 0
    }

    fn write_facts(&self) -> Result<Appending, AppendError> {
        let record = entry::facts_record(self.facts.number, self.facts.last_report);
        self.parts.journal.append_urgent(vec![record])
    }

    /// Whether a record of no consequence is taken and flushed.
    pub(super) fn disk_works(&self) -> bool {
        self.write_facts().and_then(Appending::wait).is_ok()
    }

    /// Once for each segment, so that segments can be given up when no record can be written.
    fn tell_facts(&self) {
        if self.has_facts()
            && let Err(error) = self.write_facts()
        {
            tracing::debug!(%error, "number and last report are not written again yet");
        }
    }

    /// All segments but the one being written.
    pub(super) fn sealed(&self) -> Vec<SegmentInfo> {
        let mut segments = self.parts.journal.segments();
        segments.pop();
        segments
    }
}

/// The place behind a segment.
const fn behind(segment: SegmentInfo) -> Position {
    Position::new(segment.sequence + 1, 0)
}

/// The journal in parts of the same length.
fn stretches(segments: &[SegmentInfo]) -> Vec<(Position, Position)> {
    let total: u64 = segments.iter().map(|segment| segment.bytes).sum();
    let step = (total / PLACES).max(1);
    let mut starts = Vec::new();
    let (mut passed, mut next) = (0, 0);
    for segment in segments {
        while next < passed + segment.bytes {
            let offset = u32::try_from(next - passed).unwrap_or(u32::MAX);
            starts.push(Position::new(segment.sequence, offset));
            next += step;
        }
        passed += segment.bytes;
    }
    let ends = starts.iter().skip(1).copied();
    let last = Position::new(u32::MAX >> 1, 0);
    let ends: Vec<Position> = ends.chain([last]).collect();
    starts.into_iter().zip(ends).collect()
}
