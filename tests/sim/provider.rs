//! The provider: signs its messages and sends each until it is acknowledged.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hookplane_signature::{Provider, sign};
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rand::Rng as _;
use rand::rngs::StdRng;
use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use turmoil::net::TcpStream;

use crate::agent::INGEST;
use crate::chance;
use crate::configuration::{SECRET, SOURCE};
use crate::history::{At, BEGINNING, Fact, History, now};
use crate::plan::{Kind, Message, Plan};

const PATIENCE: Duration = Duration::from_secs(4);
/// Tries of one message; more than any fault of a run can use up.
const TRIES: usize = 60;
const FOREIGN: &str = "whsec_c29tZWJvZHkgZWxzZSdzIHNlY3JldA==";

/// Sends everything; ends when all that can be acknowledged is.
pub(crate) async fn send_all(plan: Arc<Plan>, history: History) {
    let mut sending = JoinSet::new();
    for (number, message) in plan.messages.iter().enumerate() {
        let random = chance::stream(plan.seed, 1_000 + number as u64);
        sending.spawn(one(message.clone(), history.clone(), random));
    }
    while let Some(ended) = sending.join_next().await {
        ended.expect("a sender does not panic");
    }
}

async fn one(message: Message, history: History, mut random: StdRng) {
    until(message.at).await;
    match message.kind {
        Kind::BrokenOff => break_off(&message).await,
        Kind::Twice => {
            let (first, second) = (&message, &message);
            tokio::join!(post(first, &history), post(second, &history));
        }
        Kind::Forged | Kind::Plain => {}
    }
    until_acknowledged(&message, &history, &mut random).await;
    if let Some(at) = message.again {
        until(at).await;
        until_acknowledged(&message, &history, &mut random).await;
    }
}

async fn until(at: At) {
    sleep(Duration::from_millis(at.saturating_sub(now()))).await;
}

async fn until_acknowledged(message: &Message, history: &History, random: &mut StdRng) {
    for _ in 0..TRIES {
        match post(message, history).await {
            Some(200) => return,
            // A provider with a wrong secret comes back as often as any other.
            Some(401) if message.kind == Kind::Forged => return,
            _ => sleep(Duration::from_millis(random.random_range(300..1_500))).await,
        }
    }
}

/// One call; what came of it is in the history.
async fn post(message: &Message, history: &History) -> Option<u16> {
    let began = now();
    let answer = timeout(PATIENCE, exchange(message)).await.ok().flatten();
    let (status, request_id) = answer.unzip();
    history.add(Fact::Answered {
        message: message.id.clone(),
        began,
        status,
        request_id: request_id.flatten(),
    });
    status
}

/// Status and request id.
async fn exchange(message: &Message) -> Option<(u16, Option<String>)> {
    let stream = TcpStream::connect(("agent", INGEST)).await.ok()?;
    let (mut client, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    let calling = async {
        let answer = client.send_request(request(message)).await.ok()?;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.ok()?.to_bytes();
        let json: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        Some((status, json["request_id"].as_str().map(str::to_owned)))
    };
    // The connection is driven as long as the call lasts, and closed with it.
    tokio::select! {
        biased;
        answer = calling => answer,
        _ = connection => None,
    }
}

fn request(message: &Message) -> Request<Full<Bytes>> {
    let body = body(message);
    let mut request = Request::new(Full::new(body.clone()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = format!("/{SOURCE}").parse().expect("a path");
    let headers = request.headers_mut();
    headers.insert("host", http::HeaderValue::from_static("agent"));
    for (name, value) in signed(message, &body) {
        let name = http::HeaderName::try_from(name).expect("a header's name");
        let value = http::HeaderValue::try_from(value).expect("a header's value");
        headers.insert(name, value);
    }
    request
}

fn signed(message: &Message, body: &[u8]) -> Vec<(String, String)> {
    let secret = match message.kind {
        Kind::Forged => FOREIGN,
        _ => SECRET,
    };
    let seconds = i64::try_from((BEGINNING + now()) / 1_000).expect("a time of this age");
    sign(Provider::Clerk, secret, &message.id, seconds, body).expect("a secret of Svix's form")
}

fn body(message: &Message) -> Bytes {
    let filling = "x".repeat(message.bytes);
    let text = format!(
        r#"{{"type":"user.created","data":{{"id":"{}","x":"{filling}"}}}}"#,
        message.id
    );
    Bytes::from(text)
}

/// Says half of it and hangs up.
async fn break_off(message: &Message) {
    let body = body(message);
    let mut head = format!("POST /{SOURCE} HTTP/1.1\r\nhost: agent\r\n");
    for (name, value) in signed(message, &body) {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    let said = async {
        let mut stream = TcpStream::connect(("agent", INGEST)).await?;
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(&body[..body.len() / 2]).await?;
        sleep(Duration::from_millis(100)).await;
        stream.shutdown().await
    };
    // Whether it got so far does not matter.
    drop(timeout(PATIENCE, said).await);
}
