//! The listener: connections in, answers out, a drain that finishes what is in flight.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Acceptor;

const MAX_HEADERS: usize = 128;
const MAX_HEAD_BYTES: usize = 64 * 1_024;
/// A listener that fails at once (no file handles, say) must not spin.
const ACCEPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(50);

/// Serves until `shutdown`, then lets open connections end their request in hand.
/// Connections run on `tasks`: wait for it, with a deadline, to know that all are done.
pub async fn serve(
    listener: TcpListener,
    acceptor: Arc<Acceptor>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(acceptor.limits().connections));
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
            Some((place, Ok((stream, peer)))) => {
                let acceptor = Arc::clone(&acceptor);
                tasks.spawn(connection(stream, peer, acceptor, shutdown.clone(), place));
            }
            Some((_, Err(error))) => {
                tracing::warn!(error = %error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            None => return,
        }
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    acceptor: Arc<Acceptor>,
    shutdown: CancellationToken,
    _place: OwnedSemaphorePermit,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(error = %error, "no delay could not be set");
    }
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(acceptor.limits().header_deadline)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(MAX_HEAD_BYTES as u32)
        .max_concurrent_streams(256);
    let service = service_fn(|request| {
        let acceptor = Arc::clone(&acceptor);
        async move { Ok::<_, Infallible>(acceptor.accept(request, peer.ip()).await) }
    });
    let serving = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = shutdown.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = %error, "a connection ended early");
    }
}
