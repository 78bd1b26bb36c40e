//! A connection whose first bytes have a deadline.
//!
//! Which protocol is spoken is decided by the first bytes, and until then neither
//! of the protocols' own deadlines runs: a caller who says nothing would be kept
//! for ever. Over as soon as it could be decided; a trickle does not renew it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// What an HTTP/2 client says first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(super) struct FirstBytes<S> {
    stream: S,
    /// Bytes so far, all of them as in the preface.
    alike: usize,
    /// `None` once the protocol could be decided.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<S> FirstBytes<S> {
    pub(super) fn within(limit: Duration, stream: S) -> Self {
        Self {
            stream,
            alike: 0,
            deadline: Some(Box::pin(tokio::time::sleep(limit))),
        }
    }

    fn heard(&mut self, bytes: &[u8]) {
        if self.deadline.is_none() {
            return;
        }
        let rest = &PREFACE[self.alike..];
        let alike = bytes.iter().zip(rest).take_while(|(a, b)| a == b).count();
        self.alike += alike;
        // At the end of the stream there is nothing left to wait for.
        if bytes.is_empty() || alike < bytes.len() || self.alike == PREFACE.len() {
            self.deadline = None;
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for FirstBytes<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        match read {
            Poll::Ready(Ok(())) => self.heard(&buffer.filled()[before..]),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                if let Some(deadline) = &mut self.deadline
                    && deadline.as_mut().poll(context).is_ready()
                {
                    let error = io::Error::new(io::ErrorKind::TimedOut, "nothing was said");
                    return Poll::Ready(Err(error));
                }
            }
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for FirstBytes<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_decided_by_the_first_strange_byte_or_by_the_whole_preface() {
        let fresh = || FirstBytes::within(Duration::from_secs(1), ());
        let mut one = fresh();
        one.heard(b"P");
        assert!(one.deadline.is_some(), "POST and PRI begin alike");
        one.heard(b"O");
        assert!(one.deadline.is_none());
        let mut two = fresh();
        two.heard(&PREFACE[..20]);
        assert!(two.deadline.is_some());
        two.heard(&[&PREFACE[20..], b"and more"].concat());
        assert!(two.deadline.is_none());
        let mut gone = fresh();
        gone.heard(b"");
        assert!(gone.deadline.is_none());
    }
}
