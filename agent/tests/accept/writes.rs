//! Senders and stores that do not wait for each other.

use std::time::Duration;

use hookplane_agent::accept::IngestLimits;
use hookplane_agent::store::{RequestQuery, Store as _};
use tokio::io::AsyncWriteExt as _;

use crate::world::{Agent, TEAM, connect, start};

/// Requests in the store and in the numbers.
async fn books(agent: &Agent) -> (u64, u64) {
    let all = RequestQuery {
        team_id: TEAM.into(),
        ..RequestQuery::default()
    };
    let stored = agent.store.count_requests(all).await.unwrap().accepted;
    let taken = agent.meter.take().sources;
    (stored, taken.iter().map(|(.., tally)| tally.accepted).sum())
}

#[tokio::test]
async fn a_sender_who_hangs_up_while_its_request_is_stored_is_counted() {
    let agent = start(IngestLimits::default()).await;
    let writes = agent.hold_up_writes();
    let mut stream = connect(&agent).await;
    let call = b"POST /src_open HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{}";
    stream.write_all(call).await.unwrap();
    // One task for the listener, one for the connection, and one that stores.
    wait_for(&agent, |tasks| tasks == 3).await;
    drop(stream);
    wait_for(&agent, |tasks| tasks == 2).await;
    drop(writes);
    agent.shutdown.cancel();
    agent.tasks.close();
    tokio::time::timeout(Duration::from_secs(20), agent.tasks.wait())
        .await
        .expect("a drain waits for what is being stored, and ends");
    assert_eq!(books(&agent).await, (1, 1), "in the store, in the numbers");
}

async fn wait_for(agent: &Agent, wanted: impl Fn(usize) -> bool) {
    for _ in 0..400 {
        if wanted(agent.tasks.len()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("there are {} tasks", agent.tasks.len());
}

#[tokio::test]
async fn a_store_that_takes_too_long_is_no_reason_to_keep_a_sender() {
    let agent = start(IngestLimits {
        append_deadline: Duration::from_millis(100),
        ..IngestLimits::default()
    })
    .await;
    let writes = agent.hold_up_writes();
    let told = agent.send("POST", "/src_open", Vec::new(), b"{}").await;
    assert_eq!(
        (told.status, told.json()["code"].as_str()),
        (503, Some("STORE_SLOW"))
    );
    assert!(told.headers.contains_key("retry-after"));
    drop(writes);
    let mut last = (0, 0);
    for _ in 0..400 {
        let now = books(&agent).await;
        last = (now.0, last.1 + now.1);
        if last == (1, 1) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("what was stored late is not in the books: {last:?}");
}
