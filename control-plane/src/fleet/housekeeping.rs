//! What the fleet does by itself: hear of changes, write down what streams showed,
//! and, on the replica that leads, judge rollouts and drop what is too old.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::{Fleet, bulk, rollouts};

const PRUNE: Duration = Duration::from_secs(60);

/// Starts the jobs on the fleet's tracker; they end with its shutdown.
pub(super) fn start(fleet: &Fleet) {
    run(fleet, |fleet| async move { prune(&fleet).await });
    run(fleet, |fleet| async move { follow(&fleet).await });
    run(
        fleet,
        |fleet| async move { fleet.config().announce().await },
    );
    run(fleet, |fleet| async move {
        fleet.whole.configuration.pass_on().await;
    });
    run(fleet, |fleet| async move { rollouts::judge(&fleet).await });
    run(fleet, |fleet| async move { bulk::drive(&fleet).await });
    // These have a last word at the shutdown.
    let keeper = fleet.clone();
    fleet.whole.tasks.spawn(async move {
        let whole = &keeper.whole;
        let recorder = whole.recorder.run(whole.as_ref(), &whole.shutdown);
        let replicas = whole.replicas.run(&whole.clock, &whole.shutdown);
        tokio::join!(recorder, replicas);
    });
}

fn run<F: Future<Output = ()> + Send + 'static>(
    fleet: &Fleet,
    job: impl FnOnce(Fleet) -> F + Send + 'static,
) {
    let shutdown = fleet.whole.shutdown.clone();
    let job = job(fleet.clone());
    fleet.whole.tasks.spawn(async move {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = job => {}
        }
    });
}

/// Hears of the changes that other replicas make.
async fn follow(fleet: &Fleet) {
    let config = fleet.config();
    let mut notices = config.notices();
    loop {
        notices.wait(fleet.whole.timings.refresh).await;
        if let Err(error) = config.refresh().await {
            tracing::warn!(error = %error, "the newest revision cannot be read");
            tokio::time::sleep(fleet.whole.timings.refresh).await;
        }
    }
}

async fn prune(fleet: &Fleet) {
    let mut turn = interval(PRUNE);
    turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turn.tick().await;
        if !fleet.whole.replicas.leads() {
            continue;
        }
        if let Err(error) = fleet
            .config()
            .forget_deletions(fleet.clock().now_millis())
            .await
        {
            tracing::warn!(error = %error, "old deletions were not forgotten");
        }
        if let Err(error) = fleet.bulks().prune(fleet.clock().now_millis()).await {
            tracing::warn!(error = %error, "old bulk operations were not dropped");
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
