//! Held events that a person let through: one try each, although their connection is paused.
//!
//! Lives in memory only: after a restart such an event is held like the others, and can be let through
//! again. Invariant: a bounded number waits for its try.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::store::EventRecord;

/// Events that wait for their try.
const MOST: usize = 1_000;

#[derive(Default)]
pub(super) struct Released(Mutex<HashMap<String, OfWhom>>);

/// Where an event belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OfWhom {
    pub(super) team_id: String,
    pub(super) connection_id: String,
    pub(super) destination_id: String,
}

impl Released {
    /// False when too many wait.
    pub(super) fn add(&self, event: &EventRecord) -> bool {
        let mut waiting = self.lock();
        if waiting.len() >= MOST && !waiting.contains_key(&event.id) {
            return false;
        }
        let whose = OfWhom {
            team_id: event.team_id.clone(),
            connection_id: event.connection_id.clone(),
            destination_id: event.destination_id.clone(),
        };
        waiting.insert(event.id.clone(), whose);
        true
    }

    pub(super) fn forget(&self, event_id: &str) {
        let mut waiting = self.lock();
        if !waiting.is_empty() {
            waiting.remove(event_id);
        }
    }

    pub(super) fn all(&self) -> Vec<(String, OfWhom)> {
        let waiting = self.lock();
        let pairs = waiting.iter();
        pairs
            .map(|(id, whose)| (id.clone(), whose.clone()))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, OfWhom>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
