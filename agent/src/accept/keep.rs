//! Storing and counting what was routed, to its end.
//!
//! Driven by the call that waits for it, so that a request costs no task of its own.
//! A caller who hangs up drops its call, but what is on its way to the disk arrives
//! there all the same and must be in the books (G8): then, and only then, the rest
//! runs as a task. The place is given back when the write is done, not when the
//! caller is gone. Invariant: a drain waits for it from its beginning to its end.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::Instant;

use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::config::Source;
use crate::ids::IdMint;
use crate::ingest::Place;
use crate::meter::{Ending, Meter};
use crate::route::Routed;
use crate::store::stage::{self, Stored};
use crate::store::{Store, StoreError};

pub(super) struct Keeping {
    pub(super) store: Arc<dyn Store>,
    pub(super) meter: Arc<Meter>,
    pub(super) ids: IdMint,
    pub(super) source: Arc<Source>,
    pub(super) event_type: Option<String>,
    pub(super) size: u64,
    pub(super) began: Instant,
    pub(super) place: Place,
}

impl Keeping {
    /// What waits for the end may be dropped; the rest then counts on `tasks`.
    pub(super) fn keep(self, routed: Routed, tasks: &TaskTracker) -> Kept {
        Kept {
            rest: Some(Box::pin(self.run(routed))),
            token: Some(tasks.token()),
        }
    }

    async fn run(self, routed: Routed) -> Result<Stored, StoreError> {
        let stored = stage::store(routed, self.store.as_ref(), self.ids).await?;
        let ending = if stored.is_repeat() {
            Ending::Repeat
        } else {
            Ending::Accepted
        };
        let (kind, took) = (self.event_type.as_deref(), self.began.elapsed());
        self.meter
            .request(&self.source, kind, ending, self.size, took);
        drop(self.place);
        Ok(stored)
    }
}

type Rest = Pin<Box<dyn Future<Output = Result<Stored, StoreError>> + Send>>;

/// Ends with what was stored; goes on without whoever waits.
pub(super) struct Kept {
    /// What is left to do; nothing once it is done, or broke while it was polled.
    rest: Option<Rest>,
    token: Option<TaskTrackerToken>,
}

impl Future for Kept {
    type Output = Result<Stored, StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(mut rest) = self.rest.take() else {
            return Poll::Ready(Err(StoreError::Closed));
        };
        let polled = rest.as_mut().poll(context);
        if polled.is_pending() {
            self.rest = Some(rest);
        }
        polled
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let (Some(rest), Some(token)) = (self.rest.take(), self.token.take()) else {
            return;
        };
        // Without a runtime the process ends, and the sender was told nothing.
        if let Ok(runtime) = Handle::try_current() {
            let alone = async {
                if let Err(error) = rest.await {
                    tracing::warn!(error = %error, "a request whose sender left was not stored");
                }
            };
            token.task_tracker().spawn_on(alone, &runtime);
        }
    }
}
