//! Events of connections that a person deleted, which nobody will send any more.
//!
//! Owns when the store is asked to stop them. Refuses to know what else is due.
//! Invariants: nobody waits for it; per connection one request to the store is under
//! way at most, and over all connections a few.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::store::Store;

/// Requests to the store at once.
const AT_ONCE: usize = 4;
/// For the store to answer; what it began it goes on with.
const DEADLINE: Duration = Duration::from_secs(30);
/// Between requests to stop those of the same connection.
const AGAIN: Duration = Duration::from_secs(10);

/// Stops them.
pub(super) struct Orphans {
    store: Arc<dyn Store>,
    asked: Mutex<HashMap<String, Asked>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Now,
    Until(Instant),
}

/// A request to the store, under way until this is dropped.
struct Asking {
    orphans: Arc<Orphans>,
    connection_id: String,
}

impl Orphans {
    pub(super) fn new(store: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self {
            store,
            asked: Mutex::default(),
        })
    }

    /// Asks for those of a deleted connection, beside everything else. Does nothing when it was
    /// asked a while ago, or while enough others are; a later look asks then.
    pub(super) fn stop(
        self: &Arc<Self>,
        connection_id: &str,
        tasks: &TaskTracker,
        shutdown: &CancellationToken,
    ) {
        let Some(asking) = self.begin(connection_id) else {
            return;
        };
        let shutdown = shutdown.clone();
        tasks.spawn(async move {
            let id = &asking.connection_id;
            let store = &asking.orphans.store;
            let stopping = store.cancel_pending(id, "the connection was deleted");
            let ended = tokio::select! {
                biased;
                // Not worth a drain: the next start asks again.
                () = shutdown.cancelled() => return,
                ended = timeout(DEADLINE, stopping) => ended,
            };
            match ended {
                Ok(Ok(events)) => tracing::info!(
                    connection.id = id,
                    events,
                    "events of a deleted connection stopped"
                ),
                Ok(Err(error)) => {
                    tracing::warn!(error = %error, connection.id = id,
                        "events of a deleted connection are not stopped yet");
                }
                Err(_) => tracing::info!(
                    connection.id = id,
                    "many events of a deleted connection are being stopped"
                ),
            }
        });
    }

    /// Forgets connections that are not known as deleted any more.
    pub(super) fn keep(&self, deleted: &HashSet<String>) {
        self.lock()
            .retain(|id, asked| *asked == Asked::Now || deleted.contains(id));
    }

    fn begin(self: &Arc<Self>, connection_id: &str) -> Option<Asking> {
        let mut asked = self.lock();
        let free = match asked.get(connection_id) {
            None => true,
            Some(Asked::Now) => false,
            Some(Asked::Until(at)) => at.elapsed() >= AGAIN,
        };
        let busy = asked.values().filter(|one| **one == Asked::Now).count();
        if !free || busy >= AT_ONCE {
            return None;
        }
        asked.insert(connection_id.to_owned(), Asked::Now);
        Some(Asking {
            orphans: Arc::clone(self),
            connection_id: connection_id.to_owned(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Asked>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let ended = Asked::Until(Instant::now());
        if let Some(asked) = self.orphans.lock().get_mut(&self.connection_id) {
            *asked = ended;
        }
    }
}
