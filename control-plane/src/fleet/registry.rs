//! Which agents are connected, one entry per agent: a newer stream replaces the older one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The open streams of one kind.
pub(super) struct Registry<T> {
    entries: Mutex<HashMap<String, Entry<T>>>,
    /// Serial number of the newest registration, so that followers see who joins.
    serial: watch::Sender<u64>,
}

struct Entry<T> {
    serial: u64,
    value: Arc<T>,
    replaced: CancellationToken,
}

/// An open stream's place. Dropped, the stream counts as closed.
pub(super) struct Registration<T> {
    registry: Arc<Registry<T>>,
    agent_id: String,
    serial: u64,
    /// Cancelled when another stream of the same agent took the place.
    pub(super) replaced: CancellationToken,
}

impl<T> Registry<T> {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            entries: Mutex::new(HashMap::new()),
            serial: watch::Sender::new(0),
        })
    }

    /// Takes the place of an agent, from an older stream if there is one.
    pub(super) fn register(self: &Arc<Self>, agent_id: &str, value: Arc<T>) -> Registration<T> {
        let replaced = CancellationToken::new();
        let mut entries = self.entries();
        let serial = *self.serial.borrow() + 1;
        let entry = Entry {
            serial,
            value,
            replaced: replaced.clone(),
        };
        if let Some(older) = entries.insert(agent_id.to_owned(), entry) {
            older.replaced.cancel();
        }
        self.serial.send_replace(serial);
        drop(entries);
        Registration {
            registry: Arc::clone(self),
            agent_id: agent_id.to_owned(),
            serial,
            replaced,
        }
    }

    pub(super) fn get(&self, agent_id: &str) -> Option<Arc<T>> {
        let entries = self.entries();
        entries.get(agent_id).map(|entry| Arc::clone(&entry.value))
    }

    /// Everyone who is there, with the serial number of the stream.
    pub(super) fn all(&self) -> Vec<(u64, Arc<T>)> {
        let entries = self.entries();
        let pair = |entry: &Entry<T>| (entry.serial, Arc::clone(&entry.value));
        entries.values().map(pair).collect()
    }

    /// Whether somebody is there who is none of these.
    pub(super) fn has_other_than(&self, agents: &[String]) -> bool {
        self.entries().keys().any(|id| !agents.contains(id))
    }

    pub(super) fn len(&self) -> usize {
        self.entries().len()
    }

    /// Tells when an agent joins.
    pub(super) fn joins(&self) -> watch::Receiver<u64> {
        self.serial.subscribe()
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<String, Entry<T>>> {
        // No code panics while it holds the lock, and the map stays whole if it did.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Drop for Registration<T> {
    fn drop(&mut self) {
        let mut entries = self.registry.entries();
        if entries
            .get(&self.agent_id)
            .is_some_and(|entry| entry.serial == self.serial)
        {
            entries.remove(&self.agent_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_stream_replaces_the_older_whose_end_changes_nothing() {
        let registry = Registry::new();
        let old = registry.register("agt_1", Arc::new(1));
        let new = registry.register("agt_1", Arc::new(2));
        assert!(old.replaced.is_cancelled(), "the older one is told");
        assert!(!new.replaced.is_cancelled());
        drop(old);
        assert_eq!(registry.get("agt_1").as_deref(), Some(&2));
        drop(new);
        assert_eq!(registry.len(), 0);
    }
}
