//! Callers without a secret who want the places or the memory of those with one.

use std::net::Ipv4Addr;
use std::time::Duration;

use hookplane_agent::accept::IngestLimits;
use hookplane_agent::settings::Settings;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::world::{Agent, closed, connect_from, start};

const ONE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Announces a body, sends a part of it and keeps the rest back.
async fn hold(agent: &Agent, client: Ipv4Addr, source: &str, part: usize) -> TcpStream {
    let mut stream = connect_from(agent, client).await;
    let head = format!("POST /{source} HTTP/1.1\r\nhost: a\r\ncontent-length: 4096\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![b'x'; part]).await.unwrap();
    stream
}

async fn post(agent: &Agent, client: Ipv4Addr, source: &str, body: &str) -> String {
    let mut stream = connect_from(agent, client).await;
    let call = format!(
        "POST /{source} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(call.as_bytes()).await.unwrap();
    closed(&mut stream).await
}

/// Posts until the answer contains what is wanted: what holds a place needs a moment to arrive.
async fn until(agent: &Agent, client: Ipv4Addr, source: &str, body: &str, wanted: &str) {
    let mut last = String::new();
    for _ in 0..400 {
        last = post(agent, client, source, body).await;
        if last.contains(wanted) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("never {wanted}, last: {last}");
}

#[tokio::test]
async fn one_caller_and_one_source_have_a_share_of_the_places_until_verified() {
    let agent = start(IngestLimits {
        in_flight: 8,
        unverified_in_flight: 1,
        client_in_flight: 1,
        ..IngestLimits::default()
    })
    .await;
    let held = hold(&agent, ONE, "src_clerk", 10).await;
    until(&agent, ONE, "src_open", "{}", "CLIENT_BUSY").await;
    let told = post(&agent, OTHER, "src_clerk", "{}").await;
    assert!(
        told.contains("503") && told.contains("SOURCE_BUSY"),
        "{told}"
    );
    assert!(told.contains("retry-after"), "{told}");
    let told = post(&agent, OTHER, "src_open", "{}").await;
    assert!(told.starts_with("HTTP/1.1 200"), "{told}");
    drop(held);
    until(&agent, ONE, "src_open", "{}", "200 OK").await;
}

#[tokio::test]
async fn a_caller_who_takes_all_it_may_leaves_the_source_to_others() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings {
        in_flight: 32,
        ..Settings::in_dir(dir.path())
    };
    let limits = IngestLimits::of(&settings);
    assert_eq!(
        (limits.unverified_in_flight, limits.client_in_flight),
        (8, 2)
    );
    let agent = start(limits).await;
    let held = [
        hold(&agent, ONE, "src_open", 10).await,
        hold(&agent, ONE, "src_open", 10).await,
    ];
    until(&agent, ONE, "src_open", "{}", "CLIENT_BUSY").await;
    let told = post(&agent, OTHER, "src_open", "{}").await;
    assert!(told.starts_with("HTTP/1.1 200"), "{told}");
    drop(held);
}

#[tokio::test]
async fn bodies_have_a_bound_in_bytes_over_all_and_a_share_for_each_caller() {
    let agent = start(IngestLimits {
        body_bytes: 10_500,
        unverified_bytes: 8_500,
        client_bytes: 8_500,
        ..IngestLimits::default()
    })
    .await;
    let large = "y".repeat(3_000);
    // An announcement alone takes nothing.
    let announced = hold(&agent, ONE, "src_clerk", 0).await;
    until(&agent, ONE, "src_open", &large, "200 OK").await;
    let one = hold(&agent, ONE, "src_clerk", 4_000).await;
    let two = hold(&agent, ONE, "src_open", 4_000).await;
    until(&agent, ONE, "src_open", &large, "CLIENT_BUSY").await;
    until(&agent, OTHER, "src_open", &large, "AGENT_MEMORY_BUSY").await;
    // A small body still fits.
    let told = post(&agent, OTHER, "src_open", "{}").await;
    assert!(told.starts_with("HTTP/1.1 200"), "{told}");
    drop((announced, one, two));
    until(&agent, OTHER, "src_open", &large, "200 OK").await;
}

#[tokio::test]
async fn a_body_of_unknown_size_is_counted_as_it_grows() {
    let agent = start(IngestLimits {
        body_bytes: 3_000,
        unverified_bytes: 3_000,
        ..IngestLimits::default()
    })
    .await;
    let mut stream = connect_from(&agent, ONE).await;
    let head = "POST /src_open HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk = format!("fa0\r\n{}\r\n", "z".repeat(4_000));
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(chunk.as_bytes()).await.unwrap();
    let told = closed(&mut stream).await;
    assert!(told.contains("503") && told.contains("BUSY"), "{told}");
    let told = post(&agent, ONE, "src_open", "{}").await;
    assert!(told.starts_with("HTTP/1.1 200"), "{told}");
}

#[tokio::test]
async fn a_body_that_trickles_is_given_up_long_before_its_deadline() {
    let agent = start(IngestLimits {
        body_grace: Duration::from_millis(200),
        body_slowest: 1_000_000,
        body_deadline: Duration::from_secs(3_600),
        ..IngestLimits::default()
    })
    .await;
    let mut stream = hold(&agent, ONE, "src_open", 2_000).await;
    let told = closed(&mut stream).await;
    assert!(told.starts_with("HTTP/1.1 408"), "{told}");
    let kept = agent.kept().await;
    let why = kept[0].rejection.as_ref().expect("it is kept as rejected");
    assert_eq!(why.detail, "the body came too slowly");
}
