//! Many agents at once: who waits is told when to come back, and nobody stays for ever.

use std::time::Duration;

use hookplane_control_plane::fleet::Timings;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::agent::{Got, Holding, TestAgent};
use crate::plane::Plane;

fn hint(status: &Status) -> Option<Duration> {
    status.get_details_retry_info()?.retry_delay
}

#[tokio::test]
async fn snapshots_take_turns_and_who_waits_too_long_is_told_when_to_come_back() {
    let timings = Timings {
        snapshots: 1,
        admission: Duration::from_millis(200),
        ..Timings::default()
    };
    let plane = Plane::with(timings).await;
    plane.source("ours", "default").await;
    let first = TestAgent::enrolled(&plane, "edge-1", "default").await;
    let second = TestAgent::enrolled(&plane, "edge-2", "default").await;
    let mut takes = first.configuration(Holding::default()).await;
    let (_, nonce) = takes.take().await;
    let mut waits = second.configuration(Holding::default()).await;
    let status = waits.ending().await;
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert_eq!(hint(&status), Some(Duration::from_secs(3)));
    takes.ack(nonce).await;
    plane
        .shows(&first.id, "acknowledged", |agent| agent.revision > 0)
        .await;
    let mut waits = second.configuration(Holding::default()).await;
    assert!(matches!(waits.apply().await, Got::Snapshot(..)), "its turn");
}

#[tokio::test]
async fn who_needs_no_snapshot_waits_for_nobody() {
    let timings = Timings {
        snapshots: 1,
        admission: Duration::from_secs(600),
        ..Timings::default()
    };
    let plane = Plane::with(timings).await;
    plane.source("ours", "default").await;
    let returning = TestAgent::enrolled(&plane, "edge-1", "default").await;
    let mut talk = returning.configuration(Holding::default()).await;
    talk.apply().await;
    plane
        .shows(&returning.id, "acknowledged", |agent| agent.revision > 0)
        .await;
    let held = talk.held.clone();
    drop(talk);
    let slow = TestAgent::enrolled(&plane, "edge-2", "default").await;
    let mut takes = slow.configuration(Holding::default()).await;
    takes.take().await;
    let mut talk = returning.configuration(held).await;
    assert_eq!(talk.apply().await, Got::Current);
}

#[tokio::test]
async fn a_stream_ends_at_its_age_and_the_agent_resumes_with_nothing_to_send() {
    let timings = Timings {
        age: Duration::from_millis(500),
        ..Timings::default()
    };
    let plane = Plane::with(timings).await;
    plane.source("ours", "default").await;
    let agent = TestAgent::enrolled(&plane, "edge-1", "default").await;
    let mut talk = agent.configuration(Holding::default()).await;
    talk.apply().await;
    let (_say, mut commands) = agent.commands().await;
    let status = talk.ending().await;
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert_eq!(hint(&status), Some(Duration::ZERO), "it may come at once");
    let ended = commands.message().await.expect_err("it ends as well");
    assert_eq!(hint(&ended), Some(Duration::ZERO));
    let held = talk.held.clone();
    let mut talk = agent.configuration(held).await;
    assert_eq!(talk.apply().await, Got::Current);
}

#[tokio::test]
async fn a_shutdown_tells_when_to_come_back() {
    let plane = Plane::start().await;
    let agent = TestAgent::enrolled(&plane, "edge-1", "default").await;
    let mut talk = agent.configuration(Holding::default()).await;
    talk.apply().await;
    let (status, ()) = tokio::join!(talk.ending(), plane.stop());
    assert_eq!(hint(&status), Some(Duration::from_secs(1)), "{status:?}");
}

#[tokio::test]
async fn changes_that_come_fast_go_together() {
    let timings = Timings {
        gather: Duration::from_secs(1),
        ..Timings::default()
    };
    let plane = Plane::with(timings).await;
    let source = plane.source("ours", "default").await;
    let agent = TestAgent::enrolled(&plane, "edge-1", "default").await;
    let mut talk = agent.configuration(Holding::default()).await;
    talk.apply().await;
    plane
        .shows(&agent.id, "acknowledged", |agent| agent.revision > 0)
        .await;
    for number in 0..20 {
        plane.touch(&source, &format!("change {number}")).await;
    }
    let head = plane.config.head().await.expect("a head").revision;
    let mut deltas = 0;
    while talk.held.revision < head {
        let got = talk.apply().await;
        assert_eq!(got, Got::Delta(vec![source.id.clone()], Vec::new()));
        deltas += 1;
    }
    assert!(deltas < 20, "each change was sent alone");
}
