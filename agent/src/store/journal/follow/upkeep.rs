//! What the indexer does between tables: who goes first, and what follows from each outcome.
//!
//! Nobody waits here. A piece of upkeep is begun when the indexer has nothing else to do, and its
//! outcome is looked for like a table's. While the index cannot be written all of it rests, and
//! who asked for some is told so; folding and deliveries go on. Only if it is the disk that is full
//! room is made beside the table that waits, and new requests are refused until it is written.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::super::index::stop::Stopped;
use super::super::index::upkeep::{self, Deleted, Pages};
use super::super::indexer::Running;
use super::Follower;
use crate::store::StoreError;
use hookplane_journal::{Health, Position};

/// After a piece that failed.
const REST: Duration = Duration::from_secs(1);
/// Pages that are given back in one slice: 1 MiB.
const PAGES: u64 = 256;
/// Between looks at how much of the index is free.
const LOOK: Duration = Duration::from_secs(1);
/// Free pages are left to be used again up to one part in so many of the file.
const FREE_SHARE: u64 = 4;

/// Under way on the indexer.
pub(super) enum Upkeep {
    Delete(Running<Deleted>),
    /// A slice of the connection that the record at that place stops.
    Stop(Running<Stopped>, String, Position),
    Small(Running<()>),
}

impl Follower {
    /// Begins the next piece of upkeep, if any and if it can be done now.
    pub(super) fn tidy_up(&mut self) {
        self.look_at_volume();
        let fails = self.again.is_some();
        if fails {
            self.refuse_retaining(|| StoreError::Busy);
        }
        let rests = self.upkeep_again.is_some_and(|at| Instant::now() < at);
        let makes_room = fails && self.is_index_full() && self.upkeep.is_none();
        if rests || (self.is_indexing() && !makes_room) {
            return;
        }
        self.upkeep_again = None;
        if self.parts.journal.health() == Health::Writable {
            self.reserve.keep();
        }
        let more = if makes_room {
            self.volume_slice()
        } else {
            self.stop_slice()
                || self.retain_slice()
                || self.volume_slice()
                || self.give_pages_back()
        };
        if more || (self.hurry && !fails) {
            self.upkeep_next = false;
            self.parts.progress.raise();
        }
    }

    /// Has the indexer do something.
    pub(super) fn begin<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Running<T> {
        let parts = Arc::clone(&self.parts);
        self.indexer.begin(work, move || parts.progress.raise())
    }

    pub(super) fn collect_upkeep(&mut self, wait: Duration) {
        let outcome = match self.upkeep.take() {
            None => return,
            Some(Upkeep::Delete(running)) => match running.outcome(wait) {
                None => return self.upkeep = Some(Upkeep::Delete(running)),
                Some(outcome) => {
                    self.parts.doors.spare();
                    outcome.map(|gone| self.deleted(&gone))
                }
            },
            Some(Upkeep::Stop(running, id, at)) => match running.outcome(wait) {
                None => return self.upkeep = Some(Upkeep::Stop(running, id, at)),
                Some(outcome) => outcome.map(|slice| self.slice_stopped(&id, at, &slice)),
            },
            Some(Upkeep::Small(running)) => match running.outcome(wait) {
                None => return self.upkeep = Some(Upkeep::Small(running)),
                Some(outcome) => outcome,
            },
        };
        if outcome.is_ok() && self.taken.is_none() {
            // Otherwise the table that waits says whether there is room.
            self.set_index_full(false);
        }
        if let Err(error) = outcome {
            let mut error = Some(self.index_failed(error));
            self.upkeep_again = Some(Instant::now() + REST);
            self.refuse_retaining(|| error.take().unwrap_or(StoreError::Busy));
        }
    }

    /// Begins to delete those of the requests that may go. False when none may now: something
    /// about them is on its way to the index, or about to be written.
    pub(super) fn delete(&mut self, ids: Vec<String>) -> bool {
        let all: HashSet<&str> = ids.iter().map(String::as_str).collect();
        let touched = self.touched(&all);
        let settled = ids.iter().filter(|id| !touched.contains(*id));
        let doomed = self.parts.doors.doom(settled.cloned().collect());
        self.hurry |= !touched.is_empty();
        if doomed.is_empty() {
            return false;
        }
        let running = self.begin(move |db| upkeep::delete(db, &doomed));
        self.upkeep = Some(Upkeep::Delete(running));
        true
    }

    /// Those of the requests of which something is not in the index yet.
    pub(super) fn touched(&self, ids: &HashSet<&str>) -> HashSet<String> {
        let mut touched = self.table.touched(|id| ids.contains(id));
        if let Some(taken) = &self.taken {
            touched.extend(taken.touched(|id| ids.contains(id)));
        }
        touched
    }

    fn deleted(&mut self, gone: &Deleted) {
        self.facts.kept.subtract(gone.kept);
        // A try that came in meanwhile must not outlive its request.
        self.table.forget(&gone.ids);
        self.retained(gone.ids.len() as u64);
    }

    fn give_pages_back(&mut self) -> bool {
        if self.volume.pages_looked.elapsed() < LOOK {
            return false;
        }
        let Some(pages) = self.look_at_pages() else {
            return false;
        };
        if pages.free < PAGES || pages.free < pages.all / FREE_SHARE {
            self.volume.pages_looked = Instant::now();
            return false;
        }
        let running = self.begin(|db| upkeep::vacuum(db, PAGES));
        self.upkeep = Some(Upkeep::Small(running));
        true
    }

    /// Notes how much of the index holds something.
    pub(super) fn look_at_pages(&self) -> Option<Pages> {
        match upkeep::pages(&self.reader) {
            Ok(pages) => {
                let used = pages.all.saturating_sub(pages.free);
                self.parts.note_index(used * pages.bytes_each);
                Some(pages)
            }
            Err(error) => {
                tracing::debug!(%error, "the index does not say how large it is");
                None
            }
        }
    }
}
