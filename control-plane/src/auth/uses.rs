//! When keys were used last: collected in memory, written now and then.
//!
//! Invariant: a key costs one write a minute, however often it calls.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::{ApiKey, Millis};

/// A note that is younger says enough.
const FRESH: Millis = 60_000;

#[derive(Debug, Default)]
pub(super) struct Uses(Mutex<HashMap<String, Millis>>);

impl Uses {
    pub(super) fn note(&self, key: &ApiKey, now: Millis) {
        let fresh = |at: Millis| now - at < FRESH;
        if !key.last_used_at.is_some_and(fresh) {
            self.locked().insert(key.id.clone(), now);
        }
    }

    pub(super) fn take(&self) -> Vec<(String, Millis)> {
        self.locked().drain().collect()
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<String, Millis>> {
        // Times are whole whatever panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
