//! The shutdown, step by step, within one deadline.
//!
//! Invariant: every step ends in time for those after it, the end of the runtime
//! included, so that the process is gone before the deadline is.

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
/// What is kept of a long drain for its last steps; of a short one a quarter.
const LAST_STEPS: Duration = Duration::from_secs(5);

/// The last step of a shutdown that may take so long: blocking calls that are left then are
/// not waited for any longer.
#[must_use]
pub fn runtime_end(limit: Duration) -> Duration {
    last_steps(limit) / 5
}

fn last_steps(limit: Duration) -> Duration {
    LAST_STEPS.min(limit / 4)
}

/// When each step ends at the latest, counted from the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Timetable {
    requests: Duration,
    deliveries: Duration,
    reports: Duration,
    commands: Duration,
    store: Duration,
    parts: Duration,
}

impl Timetable {
    fn within(limit: Duration, flush: Duration) -> Self {
        let last = last_steps(limit);
        let reports = limit.saturating_sub(last);
        let parts = limit.saturating_sub(runtime_end(limit));
        Self {
            // Half, so that slow senders leave time for deliveries.
            requests: limit / 2,
            deliveries: reports.saturating_sub(flush.min(limit / 8)),
            reports,
            commands: reports + last / 5,
            store: parts.saturating_sub(last / 5),
            parts,
        }
    }
}

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
        let by = Timetable::within(self.limit, self.flush);
        tracing::info!(limit_seconds = self.limit.as_secs(), "the agent drains");
        self.readiness.update(|facts| facts.stopping = true);

        stops.accept.cancel();
        wait(&work.requests, began + by.requests, "requests").await;

        stops.deliver.cancel();
        wait(&work.deliveries, began + by.deliveries, "deliveries").await;
        stops.cores.cancel();

        stops.report.cancel();
        self.flush(stops, began + by.reports).await;

        stops.rest.cancel();
        let commands = (began + by.commands).min(Instant::now() + PARTS);
        wait(&work.commands, commands, "commands").await;
        let closed = timeout_at(began + by.store, self.store.close()).await;
        if closed.is_err() {
            tracing::warn!(
                "the store did not close in time; the next start goes on from its files"
            );
        }

        stops.admin.cancel();
        let all = async { while parts.join_next().await.is_some() {} };
        let noticed = (began + by.parts).min(Instant::now() + PARTS);
        if timeout_at(noticed, all).await.is_err() {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_come_one_after_the_other_and_end_within_the_limit() {
        for millis in [0, 1, 7, 100, 1_000, 3_000, 30_000, 3_600_000] {
            let limit = Duration::from_millis(millis);
            let by = Timetable::within(limit, Duration::from_secs(2));
            let steps = [
                by.requests,
                by.deliveries,
                by.reports,
                by.commands,
                by.store,
                by.parts,
                by.parts + runtime_end(limit),
            ];
            assert!(steps.is_sorted(), "{limit:?}: {steps:?}");
            assert_eq!(steps[6], limit, "{limit:?}: {steps:?}");
        }
        let by = Timetable::within(Duration::from_secs(30), Duration::from_secs(2));
        assert_eq!(by.deliveries, Duration::from_secs(23));
        assert_eq!(by.store - by.commands, Duration::from_secs(2));
    }
}
