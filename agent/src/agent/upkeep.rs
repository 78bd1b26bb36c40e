//! Work that keeps the store usable: retention in small batches, and the check of the books.

mod trust;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::causes::chain;
use crate::clock::SharedClock;
use crate::store::{Store, StoreError};
use crate::vitals::Vitals;
use trust::TrustedClock;

const EVERY: Duration = Duration::from_secs(60);
/// Requests of one order. The store works it off in slices between its other work, so there is no
/// pause between orders.
const BATCH: u32 = 2_000;
const DAY_MILLIS: u64 = 86_400_000;

pub(super) struct Upkeep {
    pub(super) store: Arc<dyn Store>,
    pub(super) vitals: Arc<Vitals>,
    pub(super) clock: SharedClock,
    pub(super) retention_days: u32,
    /// Where the time of the last round is kept.
    pub(super) clock_file: PathBuf,
}

impl Upkeep {
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut told = 0;
        let mut trust = TrustedClock::open(self.clock_file.clone(), Instant::now());
        loop {
            let round = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                round = self.round(&mut trust, &mut told) => round,
            };
            if let Err(error) = round {
                tracing::warn!(error = chain(&error), "the upkeep of the store failed");
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    async fn round(&self, trust: &mut TrustedClock, told: &mut u64) -> Result<(), StoreError> {
        let now = self.clock.now_millis();
        if trust.believes(now, Instant::now()) {
            self.retain(now).await?;
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

    async fn retain(&self, now: u64) -> Result<(), StoreError> {
        let kept = u64::from(self.retention_days) * DAY_MILLIS;
        let before = now.saturating_sub(kept);
        let mut deleted = 0;
        loop {
            let gone = self.store.retain(before, now, BATCH).await?;
            deleted += gone;
            if gone < u64::from(BATCH) {
                break;
            }
        }
        if deleted > 0 {
            tracing::info!(requests = deleted, "requests past their retention deleted");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::clock::Clock;
    use crate::ids::{IdMint, Kind};
    use crate::store::journal::{JournalStore, Options};
    use crate::store::{NewRequest, RequestRecord};

    const NOW: u64 = 1_790_000_000_000;

    struct SetClock(AtomicU64);

    impl Clock for SetClock {
        fn now_millis(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }
    }

    fn request(at: u64) -> NewRequest {
        let request = RequestRecord {
            id: IdMint::new(1).mint(Kind::Request, at),
            team_id: "tm_1".into(),
            source_id: "src_1".into(),
            rejection: None,
            verified_by: None,
            message_id: None,
            event_type: None,
            ingested_at: at,
            client_ip: "127.0.0.1".into(),
            config_revision: 1,
            method: "POST".into(),
            path: "/".into(),
            query: String::new(),
            headers: Vec::new(),
            body: "{}".into(),
            body_size: 2,
            replay: None,
        };
        NewRequest {
            request,
            events: Vec::new(),
            dedupe_window_millis: 0,
            branch_keys: Vec::new(),
        }
    }

    #[tokio::test]
    async fn a_jump_of_the_clock_deletes_nothing_and_age_does() {
        let dir = tempfile::tempdir().unwrap();
        let store =
            Arc::new(JournalStore::open(&dir.path().join("store"), &Options::default()).unwrap());
        let (old, young) = (request(NOW - 8 * DAY_MILLIS), request(NOW - DAY_MILLIS));
        let clock = Arc::new(SetClock(AtomicU64::new(NOW)));
        let upkeep = Upkeep {
            store: Arc::clone(&store) as Arc<dyn Store>,
            vitals: Arc::default(),
            clock: Arc::clone(&clock) as SharedClock,
            retention_days: 7,
            clock_file: dir.path().join("clock"),
        };
        let mut trust = TrustedClock::open(upkeep.clock_file.clone(), Instant::now());
        for new in [&old, &young] {
            store.append(new.clone(), IdMint::new(1)).await.unwrap();
        }
        let is_there = async |new: &NewRequest| {
            let found = store.request("tm_1", &new.request.id).await.unwrap();
            found.is_some()
        };
        upkeep.round(&mut trust, &mut 0).await.unwrap();
        assert!(!is_there(&old).await && is_there(&young).await);
        clock.0.store(NOW + 365 * DAY_MILLIS, Ordering::Relaxed);
        upkeep.round(&mut trust, &mut 0).await.unwrap();
        assert!(is_there(&young).await, "the clock's jump deleted it");
    }
}
