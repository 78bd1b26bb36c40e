//! A receiver that judges each call as an agent would, and remembers.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hookplane_signature::{AuthSpec, Inbound, Provider, Verifier, event_type, message_id};
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

/// One call that was believed.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) event_type: String,
    pub(crate) message_id: Option<String>,
    pub(crate) body: Vec<u8>,
}

pub(crate) struct Receiver {
    pub(crate) url: String,
    got: Arc<Mutex<Vec<Got>>>,
    _tasks: tokio::task::JoinSet<()>,
}

impl Receiver {
    pub(crate) async fn start(provider: Provider, auth: AuthSpec) -> Self {
        let verifier = Verifier::new(provider, auth, 300).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/src_test", listener.local_addr().unwrap());
        let got: Arc<Mutex<Vec<Got>>> = Arc::default();
        let mut tasks = tokio::task::JoinSet::new();
        let remembered = Arc::clone(&got);
        tasks.spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (verifier, got) = (verifier.clone(), Arc::clone(&remembered));
                let service = service_fn(move |request| {
                    judge(request, provider, verifier.clone(), Arc::clone(&got))
                });
                connections.spawn(async move {
                    let serving = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service);
                    drop(serving.await);
                });
            }
        });
        Self {
            url,
            got,
            _tasks: tasks,
        }
    }

    pub(crate) fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }
}

async fn judge(
    request: hyper::Request<hyper::body::Incoming>,
    provider: Provider,
    verifier: Verifier,
    got: Arc<Mutex<Vec<Got>>>,
) -> Result<hyper::Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes().to_vec();
    let headers: Vec<(String, Vec<u8>)> = head
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
        .collect();
    let inbound = Inbound {
        headers: &headers,
        body: &body,
    };
    let answer = match verifier.verify(&inbound, now()) {
        Ok(_) => {
            let parsed = serde_json::from_slice(&body).ok();
            let call = Got {
                event_type: event_type(provider, &headers, parsed.as_ref()).unwrap_or_default(),
                message_id: message_id(provider, &headers, parsed.as_ref()),
                body,
            };
            got.lock().unwrap().push(call);
            (200, r#"{"ok":true,"request_id":"req_1"}"#)
        }
        Err(_) => (
            401,
            r#"{"error":"refused","code":"SOURCE_AUTH_FAILED","request_id":"req_2"}"#,
        ),
    };
    let response = hyper::Response::builder().status(answer.0);
    Ok(response
        .body(Full::new(Bytes::from_static(answer.1.as_bytes())))
        .unwrap())
}

#[expect(
    clippy::disallowed_methods,
    reason = "the binary under test reads the machine's clock, so its judge must too"
)]
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}
