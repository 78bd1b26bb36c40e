//! Floods of HTTP/2, frame by frame: many streams, streams taken back, heads without an end.

use std::time::Duration;

use hookplane_agent::accept::IngestLimits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::world::{Agent, connect, start};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// Codes of RFC 9113.
const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// POST to the open source: numbers of the static table, and two texts.
fn head() -> Vec<u8> {
    let mut block = vec![0x83, 0x86, 0x04, 9];
    block.extend(b"/src_open");
    block.extend([0x01, 1, b'a']);
    block
}

struct Heard {
    kind: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Heard {
    fn code(&self) -> u32 {
        let code = match self.kind {
            GOAWAY => &self.payload[4..8],
            _ => &self.payload[..4],
        };
        u32::from_be_bytes(code.try_into().unwrap())
    }
}

/// The next frame; `None` when the agent ended the connection.
async fn hear(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Option<Heard> {
    let read = async {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.ok()?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        stream.read_exact(&mut payload).await.ok()?;
        Some(Heard {
            kind: head[3],
            stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
            payload,
        })
    };
    let heard = tokio::time::timeout(Duration::from_secs(20), read).await;
    heard.expect("the agent neither answers nor ends the connection")
}

async fn greet(agent: &Agent) -> TcpStream {
    let mut stream = connect(agent).await;
    let greeting = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    stream.write_all(&greeting).await.unwrap();
    stream
}

/// Whether a caller is still served as ever.
async fn serves(agent: &Agent) -> bool {
    let told = agent.send("POST", "/src_open", Vec::new(), b"{}").await;
    told.status == 200
}

#[tokio::test]
async fn streams_past_the_bound_are_refused_and_the_others_go_on() {
    let agent = start(IngestLimits {
        unverified_in_flight: 1_000,
        client_in_flight: 1_000,
        ..IngestLimits::default()
    })
    .await;
    let mut stream = greet(&agent).await;
    let number = |index: u32| 2 * index + 1;
    let heads = (0..300).map(|index| frame(HEADERS, END_HEADERS, number(index), &head()));
    stream
        .write_all(&heads.collect::<Vec<_>>().concat())
        .await
        .unwrap();
    let mut refused = Vec::new();
    while refused.len() < 44 {
        let heard = hear(&mut stream).await.expect("the connection stays");
        if heard.kind == RST_STREAM {
            assert_eq!(heard.code(), REFUSED_STREAM);
            refused.push(heard.stream);
        }
        assert_ne!(heard.kind, GOAWAY);
    }
    let expected: Vec<u32> = (256..300).map(number).collect();
    assert_eq!(refused, expected);
    stream
        .write_all(&frame(DATA, END_STREAM, 1, b"{}"))
        .await
        .unwrap();
    loop {
        let heard = hear(&mut stream).await.expect("the connection stays");
        if heard.kind == HEADERS && heard.stream == 1 {
            // 200, as a number of the static table.
            assert_eq!(heard.payload[0], 0x88);
            return;
        }
    }
}

#[tokio::test]
async fn streams_that_are_opened_and_taken_back_end_the_connection() {
    let agent = start(IngestLimits::default()).await;
    let (mut hearing, mut saying) = greet(&agent).await.into_split();
    let mut flood = JoinSet::new();
    flood.spawn(async move {
        let mut sent = 0_u32;
        while sent < 100_000 {
            let mut many = Vec::new();
            for _ in 0..500 {
                let stream = 2 * sent + 1;
                many.extend(frame(HEADERS, END_HEADERS, stream, &head()));
                many.extend(frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes()));
                sent += 1;
            }
            if saying.write_all(&many).await.is_err() {
                return;
            }
        }
        // Keeps the connection, so that only the agent can end it.
        std::future::pending::<()>().await;
    });
    let mut ended_by = None;
    while let Some(heard) = hear(&mut hearing).await {
        if heard.kind == GOAWAY {
            ended_by = Some(heard.code());
        }
    }
    // ENHANCE_YOUR_CALM; the farewell may be lost when we are not done talking.
    assert!(matches!(ended_by, None | Some(0xb)), "{ended_by:?}");
    flood.abort_all();
    assert!(serves(&agent).await);
}

#[tokio::test]
async fn a_head_that_goes_on_and_on_ends_the_connection() {
    let agent = start(IngestLimits::default()).await;
    let (mut hearing, mut saying) = greet(&agent).await.into_split();
    let mut flood = JoinSet::new();
    flood.spawn(async move {
        saying
            .write_all(&frame(HEADERS, 0, 1, &head()))
            .await
            .unwrap();
        // x: and nothing, as a literal that no table keeps.
        let more = frame(CONTINUATION, 0, 1, &[0x00, 1, b'x', 0]).repeat(100);
        // A hundred are too many already; it may be over before all of them are said.
        drop(saying.write_all(&more).await);
        std::future::pending::<()>().await;
    });
    while hear(&mut hearing).await.is_some() {}
    flood.abort_all();
    assert!(serves(&agent).await);
    assert_eq!(agent.kept().await.len(), 1, "the head became a request");
}

#[tokio::test]
async fn a_head_of_version_two_that_never_ends_is_not_waited_for() {
    let agent = start(IngestLimits {
        idle: Duration::from_millis(300),
        header_deadline: Duration::from_secs(3_600),
        ..IngestLimits::default()
    })
    .await;
    let mut stream = greet(&agent).await;
    let half = frame(HEADERS, 0, 1, &head());
    stream.write_all(&half).await.unwrap();
    while hear(&mut stream).await.is_some() {}
}
