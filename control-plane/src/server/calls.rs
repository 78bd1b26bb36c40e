//! How long a call may take, and what ends it when the process stops.
//!
//! Owns the deadline of unary gRPC methods, which methods are such, and the end
//! of calls that are only half there at shutdown. REST has the same deadline of
//! its own; streams of agents and the tail are ended by the fleet, which tells
//! them more.
//!
//! Invariant: after a shutdown no caller can hold a call open, with or without a key.

use std::collections::HashSet;
use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http_body::Frame;
use prost_reflect::DescriptorPool;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::{Code, Status};

use crate::grpc::status::{refused, unavailable};

const LONGEST: Duration = Duration::from_secs(20);
const SHORTEST: Duration = Duration::from_secs(1);

/// The bounds of calls. Cheap to clone.
#[derive(Clone)]
pub(super) struct Calls {
    /// Paths of our own methods that stream.
    streams: Arc<HashSet<String>>,
    within: Duration,
    shutdown: CancellationToken,
}

/// For one call: well within the drain, so that a drain outlasts every call in hand.
pub(super) fn deadline(drain: Duration) -> Duration {
    (drain / 2).clamp(SHORTEST, LONGEST)
}

impl Calls {
    pub(super) fn new(
        pool: &DescriptorPool,
        within: Duration,
        shutdown: CancellationToken,
    ) -> Self {
        let streams = pool
            .services()
            .flat_map(|service| service.methods().collect::<Vec<_>>())
            .filter(|method| method.is_client_streaming() || method.is_server_streaming())
            .map(|method| format!("/{}/{}", method.parent_service().full_name(), method.name()));
        Self {
            streams: Arc::new(streams.collect()),
            within,
            shutdown,
        }
    }

    fn stop(&self) -> Pin<Box<WaitForCancellationFutureOwned>> {
        Box::pin(self.shutdown.clone().cancelled_owned())
    }
}

/// The layer around everything that is served.
pub(super) async fn bound(State(calls): State<Calls>, request: Request, next: Next) -> Response {
    let kind = request.headers().get(CONTENT_TYPE);
    let is_grpc = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    if is_grpc && calls.streams.contains(request.uri().path()) {
        return next.run(request).await;
    }
    let stop = calls.stop();
    let request = request.map(|body| Body::new(Inbound { body, stop }));
    if !is_grpc {
        return next.run(request).await;
    }
    match timeout(calls.within, next.run(request)).await {
        Ok(response) => {
            let stop = calls.stop();
            response.map(|body| {
                Body::new(Outbound {
                    body: Some(body),
                    stop,
                })
            })
        }
        Err(_) => late().into_http(),
    }
}

fn late() -> Status {
    refused(
        Code::DeadlineExceeded,
        "DEADLINE_EXCEEDED",
        "the call took too long",
        "send the whole message at once; look whether a change was made before you send it again",
    )
}

fn stopping() -> Status {
    unavailable(
        "SHUTTING_DOWN",
        "the control plane is stopping",
        "send the call again when it is back",
    )
}

/// A request's body that fails at shutdown unless it is there already.
struct Inbound {
    body: Body,
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl http_body::Body for Inbound {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        ready!(this.stop.as_mut().poll(cx));
        Poll::Ready(Some(Err(stopping().into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

/// An answer's body that ends with a status at shutdown if nothing more is there.
struct Outbound {
    /// None when it has ended.
    body: Option<Body>,
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl http_body::Body for Outbound {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        let Some(body) = &mut this.body else {
            return Poll::Ready(None);
        };
        if let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        ready!(this.stop.as_mut().poll(cx));
        this.body = None;
        let mut trailers = http::HeaderMap::new();
        let written = stopping().add_header(&mut trailers);
        let trailers = written.map(|()| Frame::trailers(trailers));
        Poll::Ready(Some(trailers.map_err(axum::Error::new)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body
            .as_ref()
            .map(http_body::Body::size_hint)
            .unwrap_or_default()
    }
}
