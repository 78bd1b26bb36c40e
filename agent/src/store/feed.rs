//! News of what was stored, for live tails and to wake the deliverer.
//!
//! A broadcast with a bound: a slow listener misses items and is told so, the
//! writer never waits. Nothing depends on it for correctness; due events are
//! always found by asking the store. Items carry nothing of what was received, neither a sender's
//! headers and body nor a receiver's, so that what waits for a slow listener stays small; who needs
//! those asks for them.

use std::sync::Arc;

use tokio::sync::broadcast;

use super::{AttemptRecord, EventRecord, RequestRecord};

const CAPACITY: usize = 1_024;

#[derive(Clone, Debug)]
pub enum StoreEvent {
    /// A request was stored, with the events it made.
    Stored {
        request: Arc<RequestRecord>,
        events: Arc<[Arc<EventRecord>]>,
    },
    /// A try ended; the event in its new state.
    Completed {
        attempt: Arc<AttemptRecord>,
        event: Arc<EventRecord>,
    },
    /// An event was made from an earlier one.
    Requeued(Arc<EventRecord>),
}

#[derive(Clone, Debug)]
pub struct Feed(broadcast::Sender<StoreEvent>);

impl Feed {
    #[must_use]
    pub fn new() -> Self {
        Self(broadcast::channel(CAPACITY).0)
    }

    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<StoreEvent> {
        self.0.subscribe()
    }

    pub(super) fn publish(&self, event: StoreEvent) {
        // An error only means that nobody listens.
        drop(self.0.send(event));
    }
}

impl Default for Feed {
    fn default() -> Self {
        Self::new()
    }
}
