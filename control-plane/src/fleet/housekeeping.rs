//! What the fleet does by itself: look for other replicas' changes, drop old minutes.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::Fleet;

/// A change of another replica reaches the agents within a second.
const REFRESH: Duration = Duration::from_millis(500);
const PRUNE: Duration = Duration::from_secs(60);

/// Starts both jobs on the fleet's tracker; they end with its shutdown.
pub(super) fn start(fleet: &Fleet) {
    let keeper = fleet.clone();
    let shutdown = fleet.whole.shutdown.clone();
    fleet.whole.tasks.spawn(async move {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = refresh(&keeper) => {}
            () = prune(&keeper) => {}
        }
    });
}

async fn refresh(fleet: &Fleet) {
    let mut turn = interval(REFRESH);
    turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        turn.tick().await;
        let outcome = fleet.whole.config.refresh().await;
        if let (Err(error), false) = (&outcome, failing) {
            tracing::warn!(error = %error, "the newest revision cannot be read");
        }
        failing = outcome.is_err();
    }
}

async fn prune(fleet: &Fleet) {
    let mut turn = interval(PRUNE);
    turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turn.tick().await;
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
