//! A real HTTP receiver on loopback that does as told and remembers what it got.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::sync::Semaphore;

/// What a receiver does with one call; the last one is repeated.
#[derive(Clone)]
pub(crate) enum Act {
    Answer(u16, Vec<(&'static str, String)>, Vec<u8>),
    Hang,
    /// Answers 200 once there is a permit, and takes it.
    Permitted(Arc<Semaphore>),
}

pub(crate) fn answer(status: u16) -> Act {
    Act::Answer(status, Vec::new(), b"ok".to_vec())
}

#[derive(Clone)]
pub(crate) struct Got {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Vec<u8>,
}

pub(crate) struct Receiver {
    pub(crate) url: String,
    got: Arc<Mutex<Vec<Got>>>,
    acts: Arc<Mutex<VecDeque<Act>>>,
    _tasks: tokio::task::JoinSet<()>,
}

impl Receiver {
    pub(crate) async fn start(acts: Vec<Act>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let got: Arc<Mutex<Vec<Got>>> = Arc::default();
        let acts = Arc::new(Mutex::new(VecDeque::from(acts)));
        let mut tasks = tokio::task::JoinSet::new();
        let (seen, doing) = (Arc::clone(&got), Arc::clone(&acts));
        tasks.spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, acts) = (Arc::clone(&seen), Arc::clone(&doing));
                let service =
                    service_fn(move |request| serve(request, Arc::clone(&seen), Arc::clone(&acts)));
                connections.spawn(async move {
                    drop(
                        hyper::server::conn::http1::Builder::new()
                            .serve_connection(TokioIo::new(stream), service)
                            .await,
                    );
                });
            }
        });
        Self {
            url,
            got,
            acts,
            _tasks: tasks,
        }
    }

    /// From now on it does this.
    pub(crate) fn now(&self, act: Act) {
        *self.acts.lock().unwrap() = VecDeque::from([act]);
    }

    /// Does this once, before what it does anyway.
    pub(crate) fn next(&self, act: Act) {
        self.acts.lock().unwrap().push_front(act);
    }

    /// Waits until it was called so often.
    pub(crate) async fn called(&self, times: usize) {
        for _ in 0..400 {
            if self.got.lock().unwrap().len() >= times {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("called {} times, not {times}", self.got().len());
    }

    pub(crate) fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }
}

async fn serve(
    request: hyper::Request<hyper::body::Incoming>,
    seen: Arc<Mutex<Vec<Got>>>,
    acts: Arc<Mutex<VecDeque<Act>>>,
) -> Result<hyper::Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes().to_vec();
    let (method, target) = (head.method.to_string(), head.uri.to_string());
    seen.lock().unwrap().push(Got {
        method,
        target,
        headers: head.headers,
        body,
    });
    let act = {
        let mut acts = acts.lock().unwrap();
        if acts.len() > 1 {
            acts.pop_front().unwrap()
        } else {
            acts[0].clone()
        }
    };
    match act {
        Act::Hang => std::future::pending().await,
        Act::Permitted(permits) => {
            permits.acquire().await.unwrap().forget();
            Ok(hyper::Response::new(Full::default()))
        }
        Act::Answer(status, headers, body) => {
            let mut answer = hyper::Response::builder().status(status);
            for (name, value) in headers {
                answer = answer.header(name, value);
            }
            Ok(answer.body(Full::new(Bytes::from(body))).unwrap())
        }
    }
}
