//! G1 and G2 with real processes: SIGKILL under load, and every acknowledged request is delivered.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use hookplane_signature::sign;
use hookplane_tests::sender::{message_id, now};
use hookplane_tests::{Receiver, Source, System, until};
use http::Method;
use serde_json::json;
use tokio_util::task::TaskTracker;

const ROUNDS: usize = 5;
const SENDERS: usize = 16;

/// Sends until told to stop, and gives what was acknowledged.
async fn send_until(source: Source, stop: Arc<AtomicBool>) -> Vec<String> {
    let mut acknowledged = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let id = message_id();
        let body = Bytes::from(format!(
            r#"{{"type":"user.created","data":{{"id":"{id}"}}}}"#
        ));
        let headers = sign(source.provider, &source.secret, &id, now(), &body).expect("signed");
        match source.try_post(Method::POST, "", &headers, body).await {
            Some(answer) if answer.status == 200 => acknowledged.push(id),
            // Killed meanwhile: the next try of a real provider would come later.
            _ => tokio::task::yield_now().await,
        }
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_acknowledged_before_a_kill_is_delivered_after_it() {
    let mut system = System::start().await;
    let receiver = Receiver::start().await;
    let (source, _) = system.clerk_to(&receiver, json!([])).await;
    let mut acknowledged = BTreeSet::new();
    for round in 0..ROUNDS {
        let stop = Arc::new(AtomicBool::new(false));
        let tasks = TaskTracker::new();
        let source = source.at(&system.ingest(0));
        let senders: Vec<_> = (0..SENDERS)
            .map(|_| tasks.spawn(send_until(source.clone(), Arc::clone(&stop))))
            .collect();
        // In the middle of the load: some of this round's are through, others are under way.
        let before = receiver.so_far().len();
        receiver.got(before + 50 + 20 * round).await;
        system.kill_agent(0).await;
        stop.store(true, Ordering::Relaxed);
        for sender in senders {
            acknowledged.extend(sender.await.expect("a sender ends"));
        }
        system.start_agent(0).await;
    }
    assert!(
        acknowledged.len() > 100,
        "only {} were acknowledged",
        acknowledged.len()
    );
    until("every acknowledged request is delivered", || async {
        let got = receiver.so_far();
        let got: BTreeSet<_> = got.iter().filter_map(|one| one.header("svix-id")).collect();
        acknowledged
            .iter()
            .all(|id| got.contains(id.as_str()))
            .then_some(())
    })
    .await;
}
