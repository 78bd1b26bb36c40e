//! A receiver of deliveries that answers as it is told and remembers what it got.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::until;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub method: String,
    pub path_and_query: String,
    /// In order of arrival.
    pub headers: Vec<(String, Bytes)>,
    pub body: Bytes,
}

impl Delivery {
    /// The first value of a header, as text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name)?;
        std::str::from_utf8(&found.1).ok()
    }
}

/// Serves until dropped. Clones share what was received.
#[derive(Clone)]
pub struct Receiver {
    state: Arc<State>,
    address: SocketAddr,
    running: Arc<Running>,
}

struct Running(Mutex<CancellationToken>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .cancel();
    }
}

/// A status, and headers beside it.
type Planned = (u16, Vec<(&'static str, String)>);

#[derive(Default)]
struct State {
    got: Mutex<Vec<Delivery>>,
    /// Answers to come; then 200.
    plan: Mutex<VecDeque<Planned>>,
    always: Mutex<Option<u16>>,
    delay: Mutex<Duration>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Receiver {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let receiver = Self {
            state: Arc::default(),
            address,
            running: Arc::new(Running(Mutex::default())),
        };
        receiver.serve(listener);
        receiver
    }

    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/hooks", self.address)
    }

    /// The next answers, then 200 again.
    pub fn answers(&self, statuses: &[u16]) {
        lock(&self.state.plan).extend(statuses.iter().map(|status| (*status, Vec::new())));
    }

    /// The next answer, with a header.
    pub fn answers_with(&self, status: u16, name: &'static str, value: &str) {
        lock(&self.state.plan).push_back((status, vec![(name, value.to_owned())]));
    }

    /// Every answer from now on; `None` for 200.
    pub fn always_answers(&self, status: Option<u16>) {
        *lock(&self.state.always) = status;
    }

    /// Waits before each answer.
    pub fn takes(&self, delay: Duration) {
        *lock(&self.state.delay) = delay;
    }

    /// Closes the port and every connection.
    pub fn goes_down(&self) {
        lock(&self.running.0).cancel();
    }

    /// Listens on the same port again.
    pub async fn comes_back(&self) {
        let address = self.address;
        let listener = until("the receiver's port is free again", || async move {
            TcpListener::bind(address).await.ok()
        })
        .await;
        *lock(&self.running.0) = CancellationToken::new();
        self.serve(listener);
    }

    #[must_use]
    pub fn so_far(&self) -> Vec<Delivery> {
        lock(&self.state.got).clone()
    }

    /// Waits for at least so many deliveries.
    pub async fn got(&self, count: usize) -> Vec<Delivery> {
        let sentence = format!("{count} deliveries arrive");
        until(&sentence, || async {
            let got = self.so_far();
            (got.len() >= count).then_some(got)
        })
        .await
    }

    fn serve(&self, listener: TcpListener) {
        let down = lock(&self.running.0).clone();
        let state = Arc::clone(&self.state);
        let tasks = TaskTracker::new();
        let connections = tasks.clone();
        tasks.spawn(async move {
            loop {
                let accepted = tokio::select! {
                    () = down.cancelled() => return,
                    accepted = listener.accept() => accepted,
                };
                let Ok((stream, _)) = accepted else { continue };
                let (state, down) = (Arc::clone(&state), down.clone());
                connections.spawn(async move {
                    let service = service_fn(|request| answer(Arc::clone(&state), request));
                    let builder = Builder::new(TokioExecutor::new());
                    let serving = builder.serve_connection(TokioIo::new(stream), service);
                    tokio::select! {
                        () = down.cancelled() => {}
                        // A connection that breaks is the test's doing.
                        _ = serving => {}
                    }
                });
            }
        });
    }
}

async fn answer(
    state: Arc<State>,
    request: hyper::Request<Incoming>,
) -> Result<hyper::Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let mut answer = hyper::Response::new(Full::from("noted"));
    let Ok(body) = body.collect().await else {
        return Ok(answer);
    };
    let headers = head.headers.iter().map(|(name, value)| {
        (
            name.as_str().to_owned(),
            Bytes::copy_from_slice(value.as_bytes()),
        )
    });
    let delivery = Delivery {
        method: head.method.to_string(),
        path_and_query: head
            .uri
            .path_and_query()
            .map_or_else(String::new, ToString::to_string),
        headers: headers.collect(),
        body: body.to_bytes(),
    };
    let delay = *lock(&state.delay);
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let planned = lock(&state.plan).pop_front();
    lock(&state.got).push(delivery);
    if let Some(status) = *lock(&state.always) {
        *answer.status_mut() = status.try_into().expect("a status");
    } else if let Some((status, headers)) = planned {
        *answer.status_mut() = status.try_into().expect("a status");
        for (name, value) in headers {
            answer
                .headers_mut()
                .insert(name, value.parse().expect("a header"));
        }
    }
    Ok(answer)
}
