//! The shutdown, step by step, within one deadline.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;

use super::{Ended, Stops, Work};
use crate::readiness::Readiness;
use crate::report::spool::Spool;
use crate::store::journal::JournalStore;

const FLUSH_STEP: Duration = Duration::from_millis(20);
/// Parts that were told to stop only have to notice.
const PARTS: Duration = Duration::from_secs(2);

pub(super) struct Drain {
    /// The whole shutdown.
    pub(super) limit: Duration,
    /// For the control plane to count the last report.
    pub(super) flush: Duration,
    pub(super) runtime_file: PathBuf,
    pub(super) store: JournalStore,
    pub(super) spool: Arc<Spool>,
    pub(super) readiness: Arc<Readiness>,
}

impl Drain {
    pub(super) async fn run(self, parts: &mut JoinSet<Ended>, stops: &Stops, work: &Work) {
        let began = Instant::now();
        let end = began + self.limit;
        tracing::info!(limit_seconds = self.limit.as_secs(), "the agent drains");
        self.readiness.update(|facts| facts.stopping = true);

        stops.accept.cancel();
        // Half for the requests in hand, so that slow senders leave time for deliveries.
        wait(&work.requests, began + self.limit / 2, "requests").await;

        stops.deliver.cancel();
        wait(&work.deliveries, end, "deliveries").await;
        stops.cores.cancel();

        stops.report.cancel();
        self.flush(stops, end).await;

        stops.rest.cancel();
        wait(&work.commands, end.min(Instant::now() + PARTS), "commands").await;
        let closed = timeout_at(end.max(Instant::now() + PARTS * 2), self.store.close()).await;
        if closed.is_err() {
            tracing::warn!(
                "the store did not close in time; the next start goes on from its files"
            );
        }

        stops.admin.cancel();
        let all = async { while parts.join_next().await.is_some() {} };
        if tokio::time::timeout(PARTS, all).await.is_err() {
            tracing::warn!("a part of the agent did not end in time");
            parts.abort_all();
        }
        if let Err(error) = std::fs::remove_file(&self.runtime_file) {
            tracing::debug!(error = %error, "runtime.json could not be removed");
        }
        tracing::info!("the agent has stopped");
    }

    /// Waits for the last report, and while connected for its acknowledgement; else it waits on disk.
    async fn flush(&self, stops: &Stops, end: Instant) {
        let by = end.min(Instant::now() + self.flush);
        let acknowledged = async {
            stops.folded.cancelled().await;
            while self.readiness.facts().connected && self.spool.length() > 0 {
                tokio::time::sleep(FLUSH_STEP).await;
            }
        };
        if timeout_at(by, acknowledged).await.is_err() {
            let reports = self.spool.length();
            tracing::info!(reports, "reports wait on disk for the next start");
        }
    }
}

async fn wait(tasks: &TaskTracker, by: Instant, what: &str) {
    tasks.close();
    if timeout_at(by, tasks.wait()).await.is_err() {
        let left = tasks.len();
        tracing::warn!(left, what, "the drain does not wait any longer");
    }
}
