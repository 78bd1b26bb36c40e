//! A receiver on loopback that keeps the bodies it got; it can be told to hang or to fail.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::sync::Notify;

/// Means: take the call and wait for `go_on`.
pub(crate) const HANG: u16 = 0;

pub(crate) struct Receiver {
    pub(crate) url: String,
    state: Arc<State>,
    _tasks: tokio::task::JoinSet<()>,
}

struct State {
    status: AtomicU16,
    got: Mutex<Vec<Got>>,
    go_on: Notify,
}

/// One call: the event it was for, and its body.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) request_id: String,
    pub(crate) body: Vec<u8>,
}

impl Receiver {
    pub(crate) async fn start(status: u16) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let state = Arc::new(State {
            status: AtomicU16::new(status),
            got: Mutex::default(),
            go_on: Notify::new(),
        });
        let mut tasks = tokio::task::JoinSet::new();
        let shared = Arc::clone(&state);
        tasks.spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                let service = service_fn(move |request| serve(request, Arc::clone(&state)));
                connections.spawn(async move {
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await
                        .ok();
                });
            }
        });
        Self {
            url,
            state,
            _tasks: tasks,
        }
    }

    pub(crate) fn answers(&self, status: u16) {
        self.state.status.store(status, Ordering::Relaxed);
    }

    /// Lets one hanging call be answered.
    pub(crate) fn go_on(&self) {
        self.state.go_on.notify_one();
    }

    pub(crate) fn got(&self) -> Vec<Got> {
        self.state.got.lock().unwrap().clone()
    }
}

async fn serve(
    request: hyper::Request<Incoming>,
    state: Arc<State>,
) -> Result<hyper::Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let request_id = head.headers["hookplane-request-id"]
        .to_str()
        .unwrap()
        .to_owned();
    // A killed sender may break off.
    let body = body
        .collect()
        .await
        .map(|body| body.to_bytes().to_vec())
        .unwrap_or_default();
    state.got.lock().unwrap().push(Got { request_id, body });
    let mut status = state.status.load(Ordering::Relaxed);
    if status == HANG {
        state.go_on.notified().await;
        status = 200;
    }
    let answer = hyper::Response::builder().status(status);
    Ok(answer.body(Full::new(Bytes::from_static(b"ok"))).unwrap())
}
