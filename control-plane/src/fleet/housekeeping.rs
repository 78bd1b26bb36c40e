//! What the fleet does by itself: drop minutes that are too old to be kept.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::Fleet;

const PRUNE: Duration = Duration::from_secs(60);

/// Starts the job on the fleet's tracker; it ends with its shutdown.
pub(super) fn start(fleet: &Fleet) {
    let keeper = fleet.clone();
    let shutdown = fleet.whole.shutdown.clone();
    fleet.whole.tasks.spawn(async move {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = prune(&keeper) => {}
        }
    });
}

async fn prune(fleet: &Fleet) {
    let mut turn = interval(PRUNE);
    turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turn.tick().await;
        if let Err(error) = fleet
            .config()
            .forget_deletions(fleet.clock().now_millis())
            .await
        {
            tracing::warn!(error = %error, "old deletions were not forgotten");
        }
        loop {
            match fleet.report_store().prune(fleet.clock().now_millis()).await {
                // Others write in between: each step is a transaction of its own.
                Ok(true) => tokio::task::yield_now().await,
                Ok(false) => break,
                Err(error) => {
                    tracing::warn!(error = %error, "old minutes were not dropped");
                    break;
                }
            }
        }
    }
}
