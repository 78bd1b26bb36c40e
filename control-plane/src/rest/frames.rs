//! gRPC frames: one message each, and the status that ends them.
//!
//! Invariant: an answer ends with an OK status or is an error; a body that
//! stops short is never taken for a complete one.

use axum::body::Body;
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http_body_util::BodyExt as _;
use tonic::{Code, Status};

/// A flag and the length.
const HEAD: usize = 5;
/// Largest message an answer may hold.
const MAX_MESSAGE: usize = 64 * 1024 * 1024;

/// Puts a message into its frame. None when it is too long for one.
pub(crate) fn frame(message: &[u8]) -> Option<Bytes> {
    let length = u32::try_from(message.len()).ok()?;
    let mut frame = BytesMut::with_capacity(HEAD + message.len());
    frame.put_u8(0);
    frame.put_u32(length);
    frame.put_slice(message);
    Some(frame.freeze())
}

/// The messages of an answer, one after the other.
#[derive(Debug)]
pub(crate) struct Frames {
    body: Body,
    buffer: BytesMut,
    ended: bool,
}

impl Frames {
    pub(crate) fn new(body: Body) -> Self {
        Self {
            body,
            buffer: BytesMut::new(),
            ended: false,
        }
    }

    /// An answer whose head said already that it is over.
    pub(crate) fn none() -> Self {
        Self {
            ended: true,
            ..Self::new(Body::empty())
        }
    }

    /// The next message; `Ok(None)` after the last one of an answer that went well.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        loop {
            if let Some(message) = self.take()? {
                return Ok(Some(message));
            }
            if self.ended {
                return Ok(None);
            }
            let Some(frame) = self.body.frame().await else {
                self.ended = true;
                return Err(Status::internal("the answer ended without a status"));
            };
            let frame = frame.map_err(|_| Status::internal("the answer broke off"))?;
            match frame.into_data() {
                Ok(data) => self.buffer.extend_from_slice(&data),
                Err(frame) => {
                    self.ended = true;
                    let trailers = frame.into_trailers().unwrap_or_default();
                    let status = Status::from_header_map(&trailers)
                        .unwrap_or_else(|| Status::internal("the answer has no status"));
                    if status.code() != Code::Ok {
                        return Err(status);
                    }
                }
            }
        }
    }

    fn take(&mut self) -> Result<Option<Bytes>, Status> {
        let Some(head) = self.buffer.first_chunk::<HEAD>() else {
            return Ok(None);
        };
        let [flag, length @ ..] = *head;
        if flag != 0 {
            return Err(Status::internal("the answer is compressed"));
        }
        let length = u32::from_be_bytes(length) as usize;
        if length > MAX_MESSAGE {
            return Err(Status::out_of_range(
                "the answer is too large; ask for less, with a smaller `limit` for example",
            ));
        }
        if self.buffer.len() < HEAD + length {
            return Ok(None);
        }
        self.buffer.advance(HEAD);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }
}
