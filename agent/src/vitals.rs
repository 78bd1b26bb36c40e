//! The latest state of the store in numbers, so that the admin listener never waits for the store.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::store::EventTotals;

/// Written by `report` and the upkeep, read by `admin`.
#[derive(Debug, Default)]
pub(crate) struct Vitals {
    scheduled: AtomicU64,
    queued: AtomicU64,
    hold: AtomicU64,
    store_bytes: AtomicU64,
    imbalance: AtomicU64,
}

impl Vitals {
    pub(crate) fn set_backlog(&self, totals: EventTotals) {
        self.scheduled.store(totals.scheduled, Ordering::Relaxed);
        self.queued.store(totals.queued, Ordering::Relaxed);
        self.hold.store(totals.hold, Ordering::Relaxed);
    }

    pub(crate) fn set_store_bytes(&self, bytes: u64) {
        self.store_bytes.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn set_imbalance(&self, events: u64) {
        self.imbalance.store(events, Ordering::Relaxed);
    }

    /// Pending events by status.
    pub(crate) fn backlog(&self) -> [(&'static str, u64); 3] {
        [
            ("scheduled", self.scheduled.load(Ordering::Relaxed)),
            ("queued", self.queued.load(Ordering::Relaxed)),
            ("hold", self.hold.load(Ordering::Relaxed)),
        ]
    }

    pub(crate) fn store_bytes(&self) -> u64 {
        self.store_bytes.load(Ordering::Relaxed)
    }

    /// Events that stand differently in the books than among what is due (G8).
    pub(crate) fn imbalance(&self) -> u64 {
        self.imbalance.load(Ordering::Relaxed)
    }
}
