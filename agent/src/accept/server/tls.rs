//! TLS over any listener. The handshake is part of the connection, not of accepting.
//!
//! A stream shakes hands when it is first read from or written to, so a caller who
//! dawdles keeps nobody else waiting, holds a place like any other connection, and
//! has the deadline of the first bytes for the handshake too.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{Accept, TlsAcceptor};

use super::certificates::Certificates;
use super::listener::Listener;

/// Speaks TLS with those whom another listener accepts, each with the certificate of that moment.
pub struct TlsListener<L> {
    inner: L,
    certificates: Arc<Certificates>,
}

impl<L> TlsListener<L> {
    #[must_use]
    pub fn new(inner: L, certificates: Arc<Certificates>) -> Self {
        Self {
            inner,
            certificates,
        }
    }
}

impl<L: Listener> Listener for TlsListener<L> {
    type Stream = Secured<L::Stream>;

    async fn accept(&self) -> io::Result<(Self::Stream, SocketAddr)> {
        let (stream, peer) = self.inner.accept().await?;
        let acceptor = TlsAcceptor::from(self.certificates.current());
        Ok((Secured::Greeting(acceptor.accept(stream)), peer))
    }
}

/// A stream that shakes hands first.
pub enum Secured<S> {
    Greeting(Accept<S>),
    Open(Box<TlsStream<S>>),
    /// The handshake failed, which was told once.
    Failed,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Secured<S> {
    fn poll_open(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Pin<&mut TlsStream<S>>>> {
        if let Self::Greeting(accept) = self {
            *self = match ready!(Pin::new(accept).poll(context)) {
                Ok(stream) => Self::Open(Box::new(stream)),
                Err(error) => {
                    *self = Self::Failed;
                    return Poll::Ready(Err(error));
                }
            };
        }
        Poll::Ready(match self {
            Self::Open(stream) => Ok(Pin::new(stream.as_mut())),
            Self::Greeting(_) | Self::Failed => Err(io::ErrorKind::NotConnected.into()),
        })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Secured<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_open(context))?.poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Secured<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_open(context))?.poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_open(context))?.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Open(stream) => Pin::new(stream.as_mut()).poll_shutdown(context),
            // There is nobody yet to say goodbye to.
            Self::Greeting(_) | Self::Failed => Poll::Ready(Ok(())),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_open(context))?.poll_write_vectored(context, parts)
    }

    /// Asked before the handshake; TLS gathers parts into records in any case.
    fn is_write_vectored(&self) -> bool {
        true
    }
}
