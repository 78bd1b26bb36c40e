//! Streams that stay open only as long as their caller is admitted.
//!
//! Owns the list of open streams and how one ends. Invariant: a stream leaves
//! the list when its body is dropped, however it ended.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::{Ticket, Why};

#[derive(Debug, Default)]
pub(super) struct Streams {
    open: Mutex<HashMap<u64, Open>>,
    next: AtomicU64,
}

#[derive(Clone, Debug)]
pub(super) struct Open {
    pub(super) ticket: Ticket,
    end: CancellationToken,
    why: Arc<OnceLock<Why>>,
}

impl Open {
    pub(super) fn stop(&self, why: Why) {
        // The first reason stands.
        self.why.get_or_init(|| why);
        self.end.cancel();
    }
}

impl Streams {
    /// The same answer, which ends when its stream is told to.
    pub(super) fn watch(self: &Arc<Self>, ticket: Ticket, response: Response) -> Response {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let end = CancellationToken::new();
        let stop = Box::pin(end.clone().cancelled_owned());
        let why = Arc::new(OnceLock::new());
        let open = Open {
            ticket,
            end,
            why: Arc::clone(&why),
        };
        self.locked().insert(number, open);
        let place = Place {
            streams: Arc::clone(self),
            number,
        };
        response.map(|body| {
            Body::new(Watched {
                body: Some(body),
                why,
                stop,
                _place: place,
            })
        })
    }

    pub(super) fn open(&self) -> Vec<Open> {
        self.locked().values().cloned().collect()
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<u64, Open>> {
        // Entries are whole whatever panicked.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Place {
    streams: Arc<Streams>,
    number: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.streams.locked().remove(&self.number);
    }
}

struct Watched {
    /// None when it has ended.
    body: Option<Body>,
    why: Arc<OnceLock<Why>>,
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
    _place: Place,
}

impl http_body::Body for Watched {
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
        // The end comes first: a stream that is never silent ends too.
        if this.stop.as_mut().poll(cx).is_pending() {
            let frame = ready!(Pin::new(body).poll_frame(cx));
            return Poll::Ready(frame);
        }
        this.body = None;
        let mut trailers = HeaderMap::new();
        let why = this.why.get().copied().unwrap_or(Why::Key);
        let written = why.status().add_header(&mut trailers);
        let trailers = written.map(|()| Frame::trailers(trailers));
        Poll::Ready(Some(trailers.map_err(axum::Error::new)))
    }

    fn is_end_stream(&self) -> bool {
        self.body
            .as_ref()
            .is_none_or(http_body::Body::is_end_stream)
    }
}
