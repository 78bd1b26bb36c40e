//! Work that keeps the store usable: retention in small batches, and the check of the books.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::causes::chain;
use crate::clock::SharedClock;
use crate::store::{Store, StoreError};
use crate::vitals::Vitals;

const EVERY: Duration = Duration::from_secs(60);
const BATCH: u32 = 200;
/// Between batches, so that accepting never waits long for the writer.
const PAUSE: Duration = Duration::from_millis(50);
const DAY_MILLIS: u64 = 86_400_000;

pub(super) struct Upkeep {
    pub(super) store: Arc<dyn Store>,
    pub(super) vitals: Arc<Vitals>,
    pub(super) clock: SharedClock,
    pub(super) retention_days: u32,
}

impl Upkeep {
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut told = 0;
        loop {
            let round = tokio::select! {
                () = stop.cancelled() => return,
                round = self.round(&mut told) => round,
            };
            if let Err(error) = round {
                tracing::warn!(error = chain(&error), "the upkeep of the store failed");
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    async fn round(&self, told: &mut u64) -> Result<(), StoreError> {
        let kept = u64::from(self.retention_days) * DAY_MILLIS;
        let before = self.clock.now_millis().saturating_sub(kept);
        let mut deleted = 0;
        loop {
            let gone = self.store.retain(before, BATCH).await?;
            deleted += gone;
            if gone < u64::from(BATCH) {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        if deleted > 0 {
            tracing::info!(requests = deleted, "requests past their retention deleted");
        }
        let imbalance = self.store.imbalance().await?;
        self.vitals.set_imbalance(imbalance);
        if imbalance != *told {
            *told = imbalance;
            if imbalance > 0 {
                tracing::error!(events = imbalance, "the books of the store do not balance");
            }
        }
        Ok(())
    }
}
