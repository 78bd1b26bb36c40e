//! A deadline for the bytes that tell which protocol a connection speaks.
//!
//! The server's own deadlines begin when it knows that: the head's for HTTP/1,
//! the keep-alive for HTTP/2. Before, a silent connection, or one that stops
//! within HTTP/2's preface, would be waited for without end.
//!
//! Invariant: once the protocol could be told, this changes nothing.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// What an HTTP/2 client sends first (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection whose first bytes have a deadline.
pub(super) struct FirstBytes<S> {
    stream: S,
    /// None when the protocol could be told.
    waiting: Option<Waiting>,
}

struct Waiting {
    deadline: Pin<Box<Sleep>>,
    /// Bytes of the preface that came.
    preface: usize,
}

impl<S> FirstBytes<S> {
    pub(super) fn new(stream: S, within: Duration) -> Self {
        let deadline = Box::pin(tokio::time::sleep(within));
        Self {
            stream,
            waiting: Some(Waiting {
                deadline,
                preface: 0,
            }),
        }
    }
}

impl Waiting {
    /// Whether the protocol is known with these bytes: all of the preface, or something else.
    fn decided_by(&mut self, bytes: &[u8]) -> bool {
        let missing = &PREFACE[self.preface..];
        let next = &bytes[..bytes.len().min(missing.len())];
        self.preface += next.len();
        !missing.starts_with(next) || next.len() == missing.len()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for FirstBytes<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let Some(waiting) = &mut this.waiting else {
            return Pin::new(&mut this.stream).poll_read(cx, buffer);
        };
        let before = buffer.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut this.stream).poll_read(cx, buffer) {
            if waiting.decided_by(&buffer.filled()[before..]) {
                this.waiting = None;
            }
            return Poll::Ready(read);
        }
        ready!(waiting.deadline.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for FirstBytes<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    const SOON: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn a_connection_that_does_not_tell_its_protocol_times_out() {
        for sent in [&b""[..], b"P", &PREFACE[..23]] {
            let (mut client, server) = tokio::io::duplex(64);
            let mut server = FirstBytes::new(server, SOON);
            client.write_all(sent).await.expect("there is room");
            let mut got = Vec::new();
            let ended = server
                .read_to_end(&mut got)
                .await
                .expect_err("it is cut off");
            assert_eq!(ended.kind(), io::ErrorKind::TimedOut);
            assert_eq!(got, sent);
        }
    }

    #[tokio::test]
    async fn a_connection_that_did_may_be_silent_afterwards() {
        for sent in [&b"G"[..], b"POST / HTTP/1.1", b"\x16\x03", PREFACE] {
            let (mut client, server) = tokio::io::duplex(64);
            let mut server = FirstBytes::new(server, SOON);
            // Byte by byte, as a slow network brings them.
            for byte in sent {
                client.write_all(&[*byte]).await.expect("there is room");
                assert_eq!(server.read_u8().await.expect("it came"), *byte);
            }
            tokio::time::sleep(SOON * 2).await;
            client.write_all(b"!").await.expect("there is room");
            drop(client);
            let mut rest = Vec::new();
            server
                .read_to_end(&mut rest)
                .await
                .expect("no deadline is left");
            assert_eq!(rest, b"!");
        }
    }
}
