//! The bounded spool: reports on disk until they are acknowledged.
//!
//! Past the bound a new report is merged into the newest one that was certainly
//! never sent: only one that this process spooled and has not handed out. So a
//! number always means the same content to the control plane. The newest report may
//! be left open: it is on disk, but what follows in its minute is merged into it.

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
    /// The newest report is to be added to.
    open: bool,
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

    /// Ends when a report is there to be sent.
    pub(crate) async fn news(&self) {
        self.added.notified().await;
    }

    /// Adds to the books on disk. An open report waits for more of its minute before it is sent.
    pub(super) async fn add(
        &self,
        report: &ReportStreamRequest,
        stays_open: bool,
    ) -> Result<(), StoreError> {
        // Held over the write, so that nobody reads a report while it changes.
        let mut state = self.state.lock().await;
        let full = self.length() >= self.most;
        if let Some((sequence, waiting)) = state.unsent.clone()
            && (full || state.open && waiting.minute == report.minute)
        {
            let whole = wire::merge(waiting, report.clone());
            let amended = self.store.amend_report(sequence, whole.encode_to_vec());
            if amended.await? {
                state.unsent = Some((sequence, whole));
                if full {
                    self.merged.fetch_add(1, Ordering::Relaxed);
                }
                self.leave(&mut state, stays_open);
                return Ok(());
            }
        }
        let sequence = self.store.spool_report(report.encode_to_vec()).await?;
        self.length.fetch_add(1, Ordering::Relaxed);
        state.unsent = Some((sequence, report.clone()));
        self.leave(&mut state, stays_open);
        Ok(())
    }

    /// Nothing more comes to an open report.
    pub(super) async fn close_newest(&self) {
        let mut state = self.state.lock().await;
        if state.open {
            self.leave(&mut state, false);
        }
    }

    fn leave(&self, state: &mut State, open: bool) {
        state.open = open;
        if !open {
            self.added.notify_one();
        }
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
            spool.add(&report(count), false).await.unwrap();
        }
        assert_eq!(accepted(&spool.after(0).await.unwrap()), [(1, 1), (2, 6)]);
        assert_eq!((spool.length(), spool.merged()), (2, 1));
        // Both are sent now, so the next one needs a number of its own.
        spool.add(&report(8), false).await.unwrap();
        spool.add(&report(16), false).await.unwrap();
        assert_eq!(
            accepted(&spool.after(0).await.unwrap()),
            [(1, 1), (2, 6), (3, 24)]
        );
        // A new process cannot know what was sent before.
        let spool = Spool::open(Arc::clone(&store) as Arc<dyn Store>, 2)
            .await
            .unwrap();
        spool.add(&report(32), false).await.unwrap();
        spool.acknowledge(3).await.unwrap();
        assert_eq!(accepted(&spool.after(0).await.unwrap()), [(4, 32)]);
        assert_eq!(spool.length(), 1);
    }

    #[tokio::test]
    async fn an_open_report_is_on_disk_and_grows_until_it_is_closed_or_sent() {
        let dir = tempfile::tempdir().unwrap();
        let store =
            Arc::new(JournalStore::open(&dir.path().join("store"), &Options::default()).unwrap());
        let spool = Spool::open(Arc::clone(&store) as Arc<dyn Store>, 100)
            .await
            .unwrap();
        spool.add(&report(1), true).await.unwrap();
        let on_disk = store.spooled_reports(0, 10).await.unwrap();
        assert_eq!(accepted(&on_disk), [(1, 1)], "a crash would lose it");
        spool.add(&report(2), true).await.unwrap();
        spool.add(&report(4), false).await.unwrap();
        spool.add(&report(8), true).await.unwrap();
        assert_eq!(accepted(&spool.after(0).await.unwrap()), [(1, 7), (2, 8)]);
        // Sent although it was open: what follows needs a number of its own.
        spool.add(&report(16), true).await.unwrap();
        let all = [(1, 7), (2, 8), (3, 16)];
        assert_eq!(accepted(&spool.after(0).await.unwrap()), all);
        assert_eq!(spool.merged(), 0, "only a full spool counts its merges");
    }
}
