//! The bounded spool: reports on disk until they are acknowledged.
//!
//! Past the bound a new report is merged into the newest one that was certainly
//! never sent: only one that this process spooled and has not handed out. So a
//! number always means the same content to the control plane.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hookplane_proto::agent::v1::ReportStreamRequest;
use prost::Message as _;
use tokio::sync::{Mutex, Notify};

use super::wire;
use crate::store::{SpooledReport, Store, StoreError};

/// Reports read and sent at once.
const BATCH: u32 = 64;

pub(crate) struct Spool {
    store: Arc<dyn Store>,
    most: u64,
    state: Mutex<State>,
    length: AtomicU64,
    merged: AtomicU64,
    added: Notify,
}

#[derive(Default)]
struct State {
    /// Newest report of this process, while nobody has read it.
    unsent: Option<(u64, ReportStreamRequest)>,
}

impl Spool {
    pub(crate) async fn open(store: Arc<dyn Store>, most: u64) -> Result<Self, StoreError> {
        let length = store.spool_length().await?;
        Ok(Self {
            store,
            most,
            state: Mutex::default(),
            length: AtomicU64::new(length),
            merged: AtomicU64::new(0),
            added: Notify::new(),
        })
    }

    /// Reports that wait.
    pub(crate) fn length(&self) -> u64 {
        self.length.load(Ordering::Relaxed)
    }

    /// Reports that had to be merged because too many waited.
    pub(crate) fn merged(&self) -> u64 {
        self.merged.load(Ordering::Relaxed)
    }

    /// Ends when a report was added.
    pub(crate) async fn news(&self) {
        self.added.notified().await;
    }

    pub(super) async fn add(&self, report: &ReportStreamRequest) -> Result<(), StoreError> {
        // Held over the write, so that nobody reads a report while it changes.
        let mut state = self.state.lock().await;
        if self.length() >= self.most
            && let Some((sequence, waiting)) = state.unsent.clone()
        {
            let whole = wire::merge(waiting, report.clone());
            let amended = self.store.amend_report(sequence, whole.encode_to_vec());
            if amended.await? {
                state.unsent = Some((sequence, whole));
                self.merged.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
        }
        let sequence = self.store.spool_report(report.encode_to_vec()).await?;
        self.length.fetch_add(1, Ordering::Relaxed);
        state.unsent = Some((sequence, report.clone()));
        self.added.notify_one();
        Ok(())
    }

    /// Unacknowledged reports after a number, oldest first. What is given counts as sent.
    pub(super) async fn after(&self, sequence: u64) -> Result<Vec<SpooledReport>, StoreError> {
        let mut state = self.state.lock().await;
        let found = self.store.spooled_reports(sequence, BATCH).await?;
        if let (Some((unsent, _)), Some(last)) = (&state.unsent, found.last())
            && last.sequence >= *unsent
        {
            state.unsent = None;
        }
        Ok(found)
    }

    pub(super) async fn acknowledge(&self, up_to: u64) -> Result<(), StoreError> {
        let mut state = self.state.lock().await;
        self.store.acknowledge_reports(up_to).await?;
        if matches!(state.unsent, Some((sequence, _)) if sequence <= up_to) {
            state.unsent = None;
        }
        let length = self.store.spool_length().await?;
        self.length.store(length, Ordering::Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use hookplane_proto::agent::v1::SourceReport;

    use super::*;
    use crate::store::journal::{JournalStore, Options};

    fn report(accepted: u64) -> ReportStreamRequest {
        let source = SourceReport {
            source_id: "src_1".into(),
            received: accepted,
            accepted,
            ..SourceReport::default()
        };
        ReportStreamRequest {
            sources: vec![source],
            ..ReportStreamRequest::default()
        }
    }

    fn accepted(reports: &[SpooledReport]) -> Vec<(u64, u64)> {
        reports
            .iter()
            .map(|spooled| {
                let report = ReportStreamRequest::decode(spooled.payload.as_slice()).unwrap();
                (
                    spooled.sequence,
                    report.sources.iter().map(|s| s.accepted).sum(),
                )
            })
            .collect()
    }

    #[tokio::test]
    async fn a_full_spool_merges_and_what_was_sent_is_never_changed() {
        let dir = tempfile::tempdir().unwrap();
        let store =
            Arc::new(JournalStore::open(&dir.path().join("store"), &Options::default()).unwrap());
        let spool = Spool::open(Arc::clone(&store) as Arc<dyn Store>, 2)
            .await
            .unwrap();
        for count in [1, 2, 4] {
            spool.add(&report(count)).await.unwrap();
        }
        assert_eq!(accepted(&spool.after(0).await.unwrap()), [(1, 1), (2, 6)]);
        assert_eq!((spool.length(), spool.merged()), (2, 1));
        // Both are sent now, so the next one needs a number of its own.
        spool.add(&report(8)).await.unwrap();
        spool.add(&report(16)).await.unwrap();
        assert_eq!(
            accepted(&spool.after(0).await.unwrap()),
            [(1, 1), (2, 6), (3, 24)]
        );
        // A new process cannot know what was sent before.
        let spool = Spool::open(Arc::clone(&store) as Arc<dyn Store>, 2)
            .await
            .unwrap();
        spool.add(&report(32)).await.unwrap();
        spool.acknowledge(3).await.unwrap();
        assert_eq!(accepted(&spool.after(0).await.unwrap()), [(4, 32)]);
        assert_eq!(spool.length(), 1);
    }
}
