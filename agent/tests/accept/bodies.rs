//! The bounds of a body, however it comes.

use hookplane_agent::accept::IngestLimits;
use tokio::io::AsyncWriteExt as _;

use crate::world::{closed, connect, start};

/// What the sources of this world take.
const CAP: usize = 4_096;

/// Sends a head and pieces of a body in chunks, without the last one unless `whole`.
fn chunked(source: &str, pieces: &[&[u8]], whole: bool) -> Vec<u8> {
    let head = format!(
        "POST /{source} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    let mut call = head.into_bytes();
    for piece in pieces {
        call.extend(format!("{:x}\r\n", piece.len()).bytes());
        call.extend_from_slice(piece);
        call.extend(b"\r\n");
    }
    if whole {
        call.extend(b"0\r\n\r\n");
    }
    call
}

#[tokio::test]
async fn a_body_in_chunks_is_kept_as_one() {
    let agent = start(IngestLimits::default()).await;
    let mut stream = connect(&agent).await;
    let call = chunked("src_open", &[b"{\"a\":", b"\0\xff", b"}"], true);
    stream.write_all(&call).await.unwrap();
    let told = closed(&mut stream).await;
    assert!(told.starts_with("HTTP/1.1 200"), "{told}");
    let kept = agent.kept().await;
    assert_eq!(kept[0].body.as_ref(), b"{\"a\":\0\xff}");
    assert_eq!(kept[0].body_size, 8);
}

#[tokio::test]
async fn an_announcement_past_the_cap_is_refused_before_a_byte_is_sent() {
    let agent = start(IngestLimits::default()).await;
    let mut stream = connect(&agent).await;
    let head = format!(
        "POST /src_open HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        CAP + 1
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let told = closed(&mut stream).await;
    assert!(told.starts_with("HTTP/1.1 413"), "{told}");
    let kept = agent.kept().await;
    assert_eq!((kept[0].body.len(), kept[0].body_size), (0, 4_097));
}

#[tokio::test]
async fn a_stream_past_the_cap_is_refused_though_it_never_ends() {
    let agent = start(IngestLimits::default()).await;
    let mut stream = connect(&agent).await;
    let piece = [b'x'; 1_024];
    let pieces: Vec<&[u8]> = std::iter::repeat_n(&piece[..], 5).collect();
    stream
        .write_all(&chunked("src_open", &pieces, false))
        .await
        .unwrap();
    let told = closed(&mut stream).await;
    assert!(told.starts_with("HTTP/1.1 413"), "{told}");
    let kept = agent.kept().await;
    assert_eq!(kept[0].body.len(), CAP, "evidence up to the cap");
}

#[tokio::test]
async fn a_body_of_exactly_the_cap_is_taken() {
    let agent = start(IngestLimits::default()).await;
    let body = vec![b'x'; CAP];
    let told = agent.send("POST", "/src_open", Vec::new(), &body).await;
    assert_eq!(told.status, 200);
    assert_eq!(agent.kept().await[0].body.len(), CAP);
}
