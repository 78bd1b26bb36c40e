//! The demo's receiver: a real HTTP server that answers 200 and shows what it got.
//!
//! Bounds: as many connections as the agent opens to one destination, bodies of
//! at most 16 MiB, the last 50 calls remembered.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::failure::Failure;

const MAX_CONNECTIONS: usize = 64;
const MAX_BODY: usize = 16 * 1024 * 1024;
const REMEMBERED: usize = 50;
const HEAD_DEADLINE: Duration = Duration::from_secs(10);

type Calls = Arc<Mutex<VecDeque<Value>>>;

/// A running receiver; it ends when dropped.
pub(super) struct Receiver {
    /// Where to deliver.
    pub(super) url: String,
    /// Where to look at what came.
    pub(super) log_url: String,
    _serving: JoinSet<()>,
}

impl Receiver {
    pub(super) async fn start() -> Result<Self, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let bound = listener.and_then(|listener| Ok((listener.local_addr()?, listener)));
        let (address, listener) = bound.map_err(|error| {
            Failure::new(
                "ADDRESS",
                format!("the demo receiver cannot listen: {error}"),
            )
        })?;
        let mut serving = JoinSet::new();
        serving.spawn(accept(listener, Calls::default()));
        Ok(Self {
            url: format!("http://{address}/webhooks"),
            log_url: format!("http://{address}/"),
            _serving: serving,
        })
    }
}

async fn accept(listener: TcpListener, calls: Calls) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the demo receiver cannot take a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let calls = Arc::clone(&calls);
        connections.spawn(async move {
            serve(stream, calls).await;
            drop(permit);
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(stream: TcpStream, calls: Calls) {
    let service = service_fn(move |request| answer(request, Arc::clone(&calls)));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection of the demo receiver broke");
    }
}

async fn answer(
    request: Request<Incoming>,
    calls: Calls,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    if head.method == Method::GET {
        let calls = calls.lock().unwrap_or_else(PoisonError::into_inner);
        let seen: Vec<&Value> = calls.iter().collect();
        return Ok(respond(StatusCode::OK, &json!(seen)));
    }
    let Ok(body) = Limited::new(body, MAX_BODY).collect().await else {
        return Ok(respond(
            StatusCode::PAYLOAD_TOO_LARGE,
            &json!({"ok": false}),
        ));
    };
    let body = body.to_bytes();
    let text = |name: &str| {
        let value = head.headers.get(name);
        value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let told: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let call = json!({
        "request_id": text("hookplane-request-id"),
        "event_id": text("hookplane-event-id"),
        "attempt": text("hookplane-attempt"),
        "type": told["type"],
        "bytes": body.len(),
    });
    let mut calls = calls.lock().unwrap_or_else(PoisonError::into_inner);
    if calls.len() == REMEMBERED {
        calls.pop_back();
    }
    calls.push_front(call);
    Ok(respond(StatusCode::OK, &json!({"ok": true})))
}

fn respond(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(format!("{body:#}\n"))));
    *response.status_mut() = status;
    let json = http::HeaderValue::from_static("application/json");
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, json);
    response
}
