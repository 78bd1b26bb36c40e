//! Bodies of calls: collected within the bounds of one and of all together.
//!
//! Invariant: a body counts against the room of all from its first byte until
//! its call has ended, and is refused, never waited for, when there is none left.

use std::sync::Arc;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tonic::{Code, Status};

use super::problem::Problem;
use super::{Limits, codes};

/// Most calls are over within this time.
const RETRY_SECONDS: u64 = 1;

/// Collects bodies; one for all calls of a router.
pub(crate) struct Bodies {
    room: Arc<Semaphore>,
    limits: Limits,
}

/// A body that arrived, and the room it takes as long as this lives.
pub(crate) struct Collected {
    pub(crate) bytes: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

impl Bodies {
    pub(crate) fn new(limits: Limits) -> Self {
        let room = limits.bodies.min(Semaphore::MAX_PERMITS);
        Self {
            room: Arc::new(Semaphore::new(room)),
            limits,
        }
    }

    /// `cap` is what this caller may send, which can be less than anybody may.
    pub(crate) async fn collect(&self, body: Body, cap: usize) -> Result<Collected, Problem> {
        let most = cap.min(self.limits.body);
        if body.size_hint().lower() > most as u64 {
            return Err(too_large(most));
        }
        match timeout(self.limits.call, self.read(body, most)).await {
            Ok(read) => read,
            Err(_) => Err(Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                codes::name(Code::DeadlineExceeded),
                "the body did not arrive in time",
            )
            .hint("Send the whole body at once.")),
        }
    }

    async fn read(&self, mut body: Body, most: usize) -> Result<Collected, Problem> {
        let mut bytes = BytesMut::new();
        let mut held: Option<OwnedSemaphorePermit> = None;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(broke_off)?;
            // Trailers say nothing here.
            let Ok(data) = frame.into_data() else {
                continue;
            };
            if bytes.len() + data.len() > most {
                return Err(too_large(most));
            }
            let room = self.take(data.len()).ok_or_else(full)?;
            match &mut held {
                Some(held) => held.merge(room),
                None => held = Some(room),
            }
            bytes.extend_from_slice(&data);
        }
        Ok(Collected {
            bytes: bytes.freeze(),
            _room: held,
        })
    }

    fn take(&self, length: usize) -> Option<OwnedSemaphorePermit> {
        let length = u32::try_from(length).ok()?;
        let room = Arc::clone(&self.room);
        room.try_acquire_many_owned(length).ok()
    }
}

pub(crate) fn too_large(limit: usize) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "BODY_TOO_LARGE",
        format!("the body is larger than {limit} bytes"),
    )
    .hint("Send less in one call.")
}

fn full() -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "TOO_MANY_BODIES",
        "too many large calls are under way",
    )
    .hint("Send the call again after the time in `Retry-After`.")
    .retry_after(RETRY_SECONDS)
}

/// A layer in front that ends a body says why by a status.
fn broke_off(error: axum::Error) -> Problem {
    if let Ok(status) = error.into_inner().downcast::<Status>() {
        let code = status.code();
        return Problem::new(codes::http(code), codes::name(code), status.message())
            .hint(codes::hint(code));
    }
    Problem::new(
        StatusCode::BAD_REQUEST,
        codes::name(Code::InvalidArgument),
        "the body broke off",
    )
    .hint("Send the whole body.")
}
