//! Which events of a branch are being sent: known to the deliverer, respected by the store.
//!
//! Shared instead of copied, since each look at what is due needs it. Lives in memory only:
//! what was under way when a process died is due again.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Ids of events; clones share them.
#[derive(Clone, Debug, Default)]
pub struct UnderWay(Arc<Mutex<HashSet<String>>>);

impl UnderWay {
    pub fn insert(&self, event_id: String) {
        self.ids().insert(event_id);
    }

    /// True when it was the last one.
    pub fn remove(&self, event_id: &str) -> bool {
        let mut ids = self.ids();
        ids.remove(event_id);
        ids.is_empty()
    }

    /// Nothing may wait while this is held.
    pub fn ids(&self) -> MutexGuard<'_, HashSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FromIterator<String> for UnderWay {
    fn from_iter<I: IntoIterator<Item = String>>(ids: I) -> Self {
        Self(Arc::new(Mutex::new(ids.into_iter().collect())))
    }
}
