//! The bare server: hyper on one thread, reads each request and answers 200.
//!
//! It verifies nothing, stores nothing and routes nothing: what is left is the
//! cost of HTTP on this machine, which every rate is divided by.

use std::convert::Infallible;
use std::future::Future;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use super::announce;
use crate::fault::Fault;

/// As long as what an agent answers.
const ANSWER: &[u8] =
    br#"{"ok":true,"queued":true,"transport":"queue","request_id":"req_00000000000000000000000000"}"#;

pub(crate) async fn serve() -> Result<(), Fault> {
    serve_with(|request| async move {
        // A sender that went away is not answered anyway.
        drop(request.into_body().collect().await);
        json(Bytes::from_static(ANSWER))
    })
    .await
}

pub(super) fn json(body: Bytes) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(body));
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// Serves keep-alive HTTP/1.1 on a free port until the process is ended.
pub(super) async fn serve_with<A, F>(answer: A) -> Result<(), Fault>
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let io = |error| Fault::io("the server", error);
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(io)?;
    announce(listener.local_addr().map_err(io)?)?;
    let connections = TaskTracker::new();
    loop {
        let (stream, _) = listener.accept().await.map_err(io)?;
        stream.set_nodelay(true).map_err(io)?;
        let answer = answer.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let answered = answer(request);
                async move { Ok::<_, Infallible>(answered.await) }
            });
            let serving = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            // The other end decides when a connection is over.
            drop(serving.await);
        });
    }
}
