//! Callers who open connections and do nothing useful with them.

use std::time::Duration;

use hookplane_agent::accept::IngestLimits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::world::{Agent, closed, connect, start, start_on};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Frames of HTTP/2: empty settings, their acknowledgement, a ping.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
const SETTINGS_ACK: &[u8] = &[0, 0, 0, 4, 1, 0, 0, 0, 0];
const PING: &[u8] = &[0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];

const LONG: Duration = Duration::from_secs(3_600);
const SHORT: Duration = Duration::from_millis(300);

/// Each test has one limit that can end a connection; the other one is out of its way.
fn limits(header_deadline: Duration, idle: Duration) -> IngestLimits {
    IngestLimits {
        header_deadline,
        idle,
        ..IngestLimits::default()
    }
}

#[tokio::test]
async fn who_says_nothing_or_only_the_beginning_of_a_greeting_is_not_waited_for() {
    let agent = start(limits(SHORT, LONG)).await;
    for said in [&b""[..], b"P", &PREFACE[..20]] {
        let mut stream = connect(&agent).await;
        stream.write_all(said).await.unwrap();
        closed(&mut stream).await;
    }
}

#[tokio::test]
async fn a_greeting_letter_by_letter_has_one_deadline_in_all() {
    let agent = start(limits(SHORT, LONG)).await;
    let (mut hear, mut say) = connect(&agent).await.into_split();
    let talker = tokio::task::JoinSet::from_iter([async move {
        for byte in PREFACE {
            if say.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the whole greeting was waited for");
    }]);
    let mut heard = Vec::new();
    let end = tokio::time::timeout(Duration::from_secs(20), hear.read_to_end(&mut heard));
    drop(end.await.expect("the agent keeps the connection"));
    drop(hear);
    talker.join_all().await;
}

#[tokio::test]
async fn half_a_head_is_waited_for_as_long_as_a_whole_one_whatever_came_before() {
    let agent = start(limits(SHORT, LONG)).await;
    let whole = "POST /src_open HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n";
    let half = "POST /src_open HTTP/1.1\r\nhost: a\r\n";
    for said in [half.to_owned(), format!("{whole}{half}")] {
        let mut stream = connect(&agent).await;
        stream.write_all(said.as_bytes()).await.unwrap();
        let answered = closed(&mut stream).await.matches("thanks").count();
        assert_eq!(answered, said.matches(whole).count());
    }
}

#[tokio::test]
async fn a_connection_of_version_two_without_requests_is_ended_though_it_pings() {
    let agent = start(limits(LONG, SHORT)).await;
    let mut silent = connect(&agent).await;
    silent.write_all(PREFACE).await.unwrap();
    let (mut hear, mut say) = connect(&agent).await.into_split();
    say.write_all(&[PREFACE, SETTINGS, SETTINGS_ACK].concat())
        .await
        .unwrap();
    let mut pings = tokio::task::JoinSet::new();
    pings.spawn(async move {
        while say.write_all(PING).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let mut heard = Vec::new();
    let end = tokio::time::timeout(Duration::from_secs(20), hear.read_to_end(&mut heard));
    drop(end.await.expect("pings keep the connection"));
    closed(&mut silent).await;
}

/// Two listeners on ports of their own, so that a test can choose.
async fn two_listeners(limits: IngestLimits) -> (Agent, std::net::SocketAddr) {
    let one = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let two = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (base, other) = (one.local_addr().unwrap(), two.local_addr().unwrap());
    (
        start_on(vec![one, two], format!("http://{base}"), limits),
        other,
    )
}

#[tokio::test]
async fn listeners_share_the_bound_on_connections() {
    let (agent, other) = two_listeners(IngestLimits {
        connections: 1,
        ..limits(LONG, LONG)
    })
    .await;
    let call = b"POST /src_open HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n";
    let mut one = connect(&agent).await;
    one.write_all(call).await.unwrap();
    let mut answer = [0; 12];
    one.read_exact(&mut answer).await.unwrap();
    let mut two = TcpStream::connect(other).await.unwrap();
    two.write_all(call).await.unwrap();
    let early = tokio::time::timeout(SHORT, two.read_exact(&mut answer));
    assert!(
        early.await.is_err(),
        "the other listener has places of its own"
    );
    drop(one);
    let then = tokio::time::timeout(Duration::from_secs(20), two.read_exact(&mut answer));
    then.await
        .expect("it is served when there is room")
        .unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
}

#[tokio::test]
async fn listeners_share_the_bound_on_connections_of_one_caller() {
    let (agent, other) = two_listeners(IngestLimits {
        connections_per_client: 1,
        ..limits(LONG, LONG)
    })
    .await;
    let call = b"POST /src_open HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n";
    let mut one = connect(&agent).await;
    one.write_all(call).await.unwrap();
    one.read_exact(&mut [0; 12]).await.unwrap();
    let mut two = TcpStream::connect(other).await.unwrap();
    assert_eq!(closed(&mut two).await, "");
}

#[tokio::test]
async fn one_caller_cannot_take_every_connection() {
    let agent = start(IngestLimits {
        connections_per_client: 2,
        ..limits(LONG, LONG)
    })
    .await;
    let (one, two) = (connect(&agent).await, connect(&agent).await);
    closed(&mut connect(&agent).await).await;
    drop(one);
    // The place is free again as soon as the agent noticed.
    for _ in 0..400 {
        let mut stream = connect(&agent).await;
        let call = b"POST /src_open HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        let mut heard = Vec::new();
        if stream.write_all(call).await.is_ok()
            && stream.read_to_end(&mut heard).await.is_ok()
            && heard.starts_with(b"HTTP/1.1 200")
        {
            drop(two);
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("the place of an ended connection is never free again");
}
