//! Which events are being delivered, by branch.
//!
//! Refuses to know how a delivery goes. Invariant: whatever becomes of a delivery,
//! also when its task panics or is dropped, its [`Entry`] gives back everything: the
//! event, the place and the count, and wakes whoever looks for more to start.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::meter::Meter;
use crate::store::UnderWay;

/// Destination and connection.
pub(super) type Lane = (String, String);

/// What is under way, in a bounded number of places.
pub(super) struct Entries {
    by_lane: Mutex<HashMap<Lane, UnderWay>>,
    places: Arc<Semaphore>,
    meter: Arc<Meter>,
    /// A delivery ended.
    pub(super) ended: Notify,
}

/// One delivery under way, until this is dropped.
pub(super) struct Entry {
    entries: Arc<Entries>,
    lane: Lane,
    event_id: String,
    place: Option<OwnedSemaphorePermit>,
}

/// A piece of work did not come to an end of its own.
pub(super) struct Panicked;

impl Entries {
    pub(super) fn new(places: usize, meter: Arc<Meter>) -> Arc<Self> {
        Arc::new(Self {
            by_lane: Mutex::default(),
            places: Arc::new(Semaphore::new(places)),
            meter,
            ended: Notify::new(),
        })
    }

    pub(super) fn free(&self) -> usize {
        self.places.available_permits()
    }

    /// `None` when nobody may have another place.
    pub(super) fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    pub(super) fn begin(
        self: &Arc<Self>,
        lane: Lane,
        event_id: String,
        place: OwnedSemaphorePermit,
    ) -> Entry {
        self.lock()
            .entry(lane.clone())
            .or_default()
            .insert(event_id.clone());
        self.meter.delivery_begins();
        Entry {
            entries: Arc::clone(self),
            lane,
            event_id,
            place: Some(place),
        }
    }

    pub(super) fn of(&self, lane: &Lane) -> UnderWay {
        self.lock().get(lane).cloned().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Lane, UnderWay>> {
        self.by_lane.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    pub(super) fn event_id(&self) -> &str {
        &self.event_id
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        {
            let mut by_lane = self.entries.lock();
            let left = |events: &UnderWay| events.remove(&self.event_id);
            if by_lane.get(&self.lane).is_some_and(left) {
                by_lane.remove(&self.lane);
            }
        }
        self.entries.meter.delivery_ends();
        // Before the news, so that who hears it finds the place free.
        drop(self.place.take());
        self.entries.ended.notify_one();
    }
}

/// Runs work to its end, or up to its panic, which the process has reported by then.
pub(super) async fn to_its_end(work: impl Future<Output = ()>) -> Result<(), Panicked> {
    let mut work = pin!(work);
    poll_fn(
        // A future that panicked is not polled again, and what it held was dropped by unwinding.
        |context| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(())) => Poll::Ready(Ok(())),
            Err(_) => Poll::Ready(Err(Panicked)),
        },
    )
    .await
}
