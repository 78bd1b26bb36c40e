//! The API's port: connections in, plain or TLS, HTTP/1.1 and HTTP/2, and a drain.
//!
//! Owns sockets and their bounds. Refuses to know what is served.
//! Invariant: a connection that says nothing, or not enough, ends by itself.

mod first_bytes;
mod peer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::domain::agent_authority::pki;
use crate::settings::TlsFiles;
use first_bytes::FirstBytes;
use peer::Asking;
pub use peer::PeerCertificate;

const HEAD: Duration = Duration::from_secs(10);
const KEEP_ALIVE: Duration = Duration::from_secs(20);
const KEEP_ALIVE_ANSWER: Duration = Duration::from_secs(20);
const MAX_HEAD_BYTES: usize = 64 * 1_024;
const MAX_STREAMS: u32 = 256;
/// A listener that fails at once (no file handles, say) must not spin.
const PAUSE: Duration = Duration::from_millis(50);

/// How many connections, and how long one may take to say what it wants.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub connections: usize,
    /// For the TLS handshake, and again for the bytes that tell the protocol.
    pub first_bytes: Duration,
    /// After a shutdown, for the other side to let go of a connection.
    pub linger: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections: 4_096,
            first_bytes: Duration::from_secs(10),
            linger: Duration::from_secs(20),
        }
    }
}

/// Why TLS cannot be set up.
#[derive(Debug, Error)]
pub enum InvalidTls {
    #[error("{path} holds no usable {what}")]
    Pem {
        path: PathBuf,
        what: &'static str,
        source: rustls_pki_types::pem::Error,
    },
    #[error("the certificate and its key do not work together")]
    Mismatch(#[from] rustls::Error),
    #[error("agents cannot be asked for certificates")]
    Asking(#[from] pki::CannotSign),
}

/// Reads certificate and key. Callers may show a certificate of theirs if `asking`.
///
/// # Errors
/// [`InvalidTls`] names the file.
pub fn tls(files: &TlsFiles, asking: bool) -> Result<Arc<ServerConfig>, InvalidTls> {
    let pem = |path: &Path, what, source| InvalidTls::Pem {
        path: path.to_owned(),
        what,
        source,
    };
    let chain = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|source| pem(&files.cert, "certificate", source))?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|source| pem(&files.key, "private key", source))?;
    let builder = ServerConfig::builder();
    let builder = if asking {
        builder.with_client_cert_verifier(Arc::new(Asking::new(pki::hint()?)))
    } else {
        builder.with_no_client_auth()
    };
    let mut config = builder.with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Serves until `shutdown`, then lets open connections end their calls in hand.
/// Connections run on `tasks`: wait for it, with a deadline, to know that all are done.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    router: axum::Router,
    bounds: Bounds,
    tasks: TaskTracker,
    shutdown: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(bounds.connections));
    let acceptor = tls.map(TlsAcceptor::from);
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await.ok()?;
            Some((place, listener.accept().await))
        };
        let accepted = tokio::select! {
            () = shutdown.cancelled() => return,
            accepted = next => accepted,
        };
        match accepted {
            Some((place, Ok((stream, _)))) => {
                let serving = Serving {
                    router: router.clone(),
                    bounds,
                    shutdown: shutdown.clone(),
                };
                tasks.spawn(serving.connection(stream, acceptor.clone(), place));
            }
            Some((_, Err(error))) => {
                tracing::warn!(error = %error, "a connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
            }
            None => return,
        }
    }
}

/// What serves one connection.
struct Serving {
    router: axum::Router,
    bounds: Bounds,
    shutdown: CancellationToken,
}

impl Serving {
    async fn connection(
        self,
        stream: TcpStream,
        acceptor: Option<TlsAcceptor>,
        _place: OwnedSemaphorePermit,
    ) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(error = %error, "no delay could not be set");
        }
        let Some(acceptor) = acceptor else {
            return self.speak(stream, None).await;
        };
        match self.handshake(acceptor, stream).await {
            Ok(stream) => {
                let peer = PeerCertificate::of(&stream);
                self.speak(stream, peer).await;
            }
            Err(error) => tracing::debug!(error = %error, "a TLS handshake failed"),
        }
    }

    async fn handshake(
        &self,
        acceptor: TlsAcceptor,
        stream: TcpStream,
    ) -> io::Result<TlsStream<TcpStream>> {
        let done = tokio::time::timeout(self.bounds.first_bytes, acceptor.accept(stream));
        tokio::select! {
            done = done => done.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
            () = self.shutdown.cancelled() => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }

    async fn speak<S>(self, stream: S, peer: Option<PeerCertificate>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let stream = TokioIo::new(FirstBytes::new(stream, self.bounds.first_bytes));
        let service = self
            .router
            .map_request(move |mut request: hyper::Request<Incoming>| {
                if let Some(peer) = &peer {
                    request.extensions_mut().insert(peer.clone());
                }
                request
            });
        let service = TowerToHyperService::new(service);
        let builder = builder();
        let serving = builder.serve_connection(stream, service);
        tokio::pin!(serving);
        let ended = tokio::select! {
            ended = serving.as_mut() => ended,
            () = self.shutdown.cancelled() => {
                serving.as_mut().graceful_shutdown();
                // HTTP/2 waits for the other side to answer, which it may never do.
                let Ok(ended) = tokio::time::timeout(self.bounds.linger, serving).await else {
                    tracing::warn!("a connection was cut off: the other side did not let go of it");
                    return;
                };
                ended
            }
        };
        if let Err(error) = ended {
            tracing::debug!(error = %error, "a connection ended early");
        }
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(MAX_HEAD_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE_ANSWER)
        .max_header_list_size(u32::try_from(MAX_HEAD_BYTES).unwrap_or(u32::MAX))
        .max_concurrent_streams(MAX_STREAMS);
    builder
}
