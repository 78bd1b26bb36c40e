//! What is decided when something comes in: who may write a message, report numbers, repeats
//! that are only counted, requests that may not be deleted now.
//!
//! One lock, held for moments and never over a wait. Invariants: of two arrivals of one message
//! only one holds the claim on it; a key is in the filter before its record can be read back; a
//! request that is held is not deleted.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hookplane_journal::{AppendError, Position};
use tokio::sync::oneshot;

use super::entry::{Counted, Key};
use super::filter::Filter;

/// Repeats counted in memory before they are written in one record.
pub(super) const MOST_COUNTED: usize = 4_096;

/// Above it repeats of further messages are not counted while the disk takes no counts.
const MOST_UNWRITTEN: usize = 4 * MOST_COUNTED;

pub(super) struct Doors(Mutex<Inside>);

pub(super) struct Inside {
    pub(super) filter: Filter,
    /// Messages being looked up or written, with who waits to know.
    claimed: HashMap<Key, Vec<oneshot::Sender<()>>>,
    pub(super) spool: SpoolState,
    pub(super) number: Option<u32>,
    /// Repeats not written yet.
    pub(super) counted: BTreeMap<Counted, u64>,
    /// Requests that a repeat or a retry is about to change, until the follower has seen it.
    held: HashMap<String, u32>,
    /// Requests that are being deleted.
    doomed: HashSet<String>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct SpoolState {
    /// Number of the newest report there ever was.
    pub(super) last: u64,
    pub(super) waiting: BTreeMap<u64, Position>,
    /// Reports up to this one need not wait any longer.
    pub(super) acknowledged: u64,
    /// Changes handed in and not decided yet.
    pub(super) changing: u32,
}

impl SpoolState {
    /// A change of the report was decided.
    pub(super) fn put(&mut self, sequence: u64, outcome: &Result<Vec<Position>, AppendError>) {
        self.changing = self.changing.saturating_sub(1);
        match outcome {
            Ok(positions) if sequence > self.acknowledged => {
                if let Some(position) = positions.first() {
                    self.waiting.insert(sequence, *position);
                }
            }
            Ok(_) => {}
            // Numbers have no gaps: the next report takes it.
            Err(_) if !self.waiting.contains_key(&sequence) && self.last == sequence => {
                self.last -= 1;
            }
            Err(_) => {}
        }
    }

    pub(super) fn drop_to(&mut self, up_to: u64) {
        self.acknowledged = self.acknowledged.max(up_to);
        self.waiting = self.waiting.split_off(&up_to.saturating_add(1));
    }
}

/// What to do with an arrival.
pub(super) enum Arrival {
    /// Nobody wrote this message: the claim lets its holder.
    New(Claim),
    /// It may be known. `recent`: perhaps since a moment ago, so the index has to catch up first;
    /// else the index knows it if anybody does.
    Perhaps { claim: Claim, recent: bool },
    /// Somebody holds the claim; ends when it is given back.
    Wait(oneshot::Receiver<()>),
}

impl Doors {
    pub(super) fn new(filter: Filter, spool: SpoolState, number: Option<u32>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Inside {
            filter,
            claimed: HashMap::new(),
            spool,
            number,
            counted: BTreeMap::new(),
            held: HashMap::new(),
            doomed: HashSet::new(),
        })))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Claims a message, or says who to wait for. From here on the filter knows the key.
    pub(super) fn arrive(self: &Arc<Self>, key: Key, now: u64, expires_at: u64) -> Arrival {
        let mut inside = self.lock();
        if let Some(waiting) = inside.claimed.get_mut(&key) {
            let (told, heard) = oneshot::channel();
            waiting.push(told);
            return Arrival::Wait(heard);
        }
        inside.claimed.insert(key, Vec::new());
        let claim = Claim {
            doors: Arc::clone(self),
            key,
        };
        let recent = inside.filter.is_recent(&key);
        let perhaps = recent || inside.filter.may_contain(&key);
        if !recent {
            inside.filter.insert(&key, expires_at);
        }
        if perhaps || inside.filter.is_blind(now) {
            Arrival::Perhaps { claim, recent }
        } else {
            Arrival::New(claim)
        }
    }

    /// Keeps a request from being deleted; `None` when that has begun already.
    pub(super) fn hold(self: &Arc<Self>, request_id: &str) -> Option<Hold> {
        let mut inside = self.lock();
        if inside.doomed.contains(request_id) {
            return None;
        }
        *inside.held.entry(request_id.to_owned()).or_default() += 1;
        Some(Hold {
            doors: Arc::clone(self),
            request_id: request_id.to_owned(),
        })
    }

    /// The record that was written under a hold is seen by the follower, or never will be.
    pub(super) fn folded(&self, request_id: &str) {
        let mut inside = self.lock();
        if let Some(count) = inside.held.get_mut(request_id) {
            *count -= 1;
            if *count == 0 {
                inside.held.remove(request_id);
            }
        }
    }

    /// Lets nobody hold these any more; gives those that are not held now.
    pub(super) fn doom(&self, requests: Vec<String>) -> Vec<String> {
        let mut inside = self.lock();
        let free: Vec<String> = requests
            .into_iter()
            .filter(|id| !inside.held.contains_key(id))
            .collect();
        inside.doomed.extend(free.iter().cloned());
        free
    }

    pub(super) fn spare(&self) {
        self.lock().doomed.clear();
    }

    /// Counts a repeat without a record of its own; true when it is time to write the counts.
    pub(super) fn count(&self, of: Counted) -> bool {
        let mut inside = self.lock();
        let counts = inside.counted.len();
        match inside.counted.get_mut(&of) {
            Some(count) => *count += 1,
            // A disk that takes no counts must not fill memory with them.
            None if counts >= MOST_UNWRITTEN => return false,
            None => drop(inside.counted.insert(of, 1)),
        }
        inside.counted.len() >= MOST_COUNTED
    }

    /// Repeats of a request that are not written yet.
    pub(super) fn counted_of(&self, request_id: &str) -> u64 {
        let inside = self.lock();
        let from = Counted {
            request_id: request_id.to_owned(),
            team_id: String::new(),
            source_id: String::new(),
            minute: 0,
        };
        let of_request = inside.counted.range(from..);
        of_request
            .take_while(|(of, _)| of.request_id == request_id)
            .map(|(_, count)| count)
            .sum()
    }
}

impl Inside {
    pub(super) fn is_held(&self, request_id: &str) -> bool {
        self.held.contains_key(request_id)
    }
}

/// The right to write a message. Given back when dropped, which wakes who waits.
pub(super) struct Claim {
    doors: Arc<Doors>,
    key: Key,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let waiting = self.doors.lock().claimed.remove(&self.key);
        for told in waiting.into_iter().flatten() {
            // Who does not wait any longer needs no word.
            told.send(()).ok();
        }
    }
}

/// A request that must stay, because a record about it is on its way.
pub(super) struct Hold {
    doors: Arc<Doors>,
    request_id: String,
}

impl Hold {
    /// Its record is acknowledged: from here on `Doors::folded` ends the hold, not its caller.
    fn pass_on(mut self) {
        self.request_id.clear();
    }

    /// For the outcome of the record that is written under the hold.
    pub(super) fn told<T, E>(self, outcome: &Result<T, E>) {
        if outcome.is_ok() {
            self.pass_on();
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if !self.request_id.is_empty() {
            self.doors.folded(&self.request_id);
        }
    }
}
