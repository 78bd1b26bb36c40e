//! Storing and counting what was routed, to its end.
//!
//! A task of its own: a caller who hangs up drops its call, but what is on its way
//! to the disk arrives there all the same and must be in the books (G8). The place
//! is given back when the write is done, not when the caller is gone.

use std::sync::Arc;
use std::time::Instant;

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
    pub(super) async fn keep(self, routed: Routed) -> Result<Stored, StoreError> {
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
