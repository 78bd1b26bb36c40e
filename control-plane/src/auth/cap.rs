//! A call's body, no larger than the caller's key allows.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::{Buf as _, Bytes};
use http_body::Frame;
use tonic::{Code, Status};

use crate::grpc::status::refused;

/// The same body, which fails once it is larger than `limit` bytes.
pub(super) fn capped(body: Body, limit: u32) -> Body {
    Body::new(Capped {
        body,
        left: limit as usize,
        limit,
    })
}

struct Capped {
    body: Body,
    left: usize,
    limit: u32,
}

impl http_body::Body for Capped {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        let Some(frame) = ready!(Pin::new(&mut this.body).poll_frame(cx)) else {
            return Poll::Ready(None);
        };
        let frame = frame?;
        let length = frame.data_ref().map_or(0, |data| data.remaining());
        match this.left.checked_sub(length) {
            Some(left) => {
                this.left = left;
                Poll::Ready(Some(Ok(frame)))
            }
            None => Poll::Ready(Some(Err(too_large(this.limit).into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

fn too_large(limit: u32) -> Status {
    refused(
        Code::ResourceExhausted,
        "BODY_TOO_LARGE",
        format!("the body is larger than the {limit} bytes that the API key may send"),
        "send less in one call, or use a key with a higher limit",
    )
}
