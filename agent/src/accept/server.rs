//! The listener: connections in, answers out, a drain that finishes what is in flight.
//!
//! Invariant: a connection lives as long as it brings requests and not much
//! longer, whatever the other side does or leaves undone.

mod first_bytes;
mod idle;
mod listener;
mod open;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Acceptor, IngestLimits};
use crate::ingest::{MAX_HEAD_BYTES, MAX_HEADERS};
use first_bytes::FirstBytes;
use idle::Activity;
pub use listener::Listener;
use open::{Open, OpenConnections};

/// HTTP/2 pings, and how long the answer to one may take.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_ANSWER: Duration = Duration::from_secs(20);
/// What HTTP/2 may send ahead of our reading it, for a stream and for all of a connection.
const STREAM_WINDOW: u32 = 256 * 1_024;
const CONNECTION_WINDOW: u32 = 512 * 1_024;
/// For a connection that was told to end.
const GRACE: Duration = Duration::from_secs(5);
/// A listener that fails at once (no file handles, say) must not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `shutdown`, then lets open connections end their request in hand.
/// Connections run on `tasks`: wait for it, with a deadline, to know that all are done.
pub async fn serve<L: Listener>(
    listener: L,
    acceptor: Arc<Acceptor>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
) {
    let limits = *acceptor.limits();
    let places = Arc::new(Semaphore::new(limits.connections));
    let open = OpenConnections::at_most(limits.connections_per_client);
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
                let Some(open) = open.open(peer.ip()) else {
                    tracing::debug!(client.ip = %peer.ip(), "a caller has too many connections");
                    continue;
                };
                let served = Served {
                    acceptor: Arc::clone(&acceptor),
                    tasks: tasks.clone(),
                    shutdown: shutdown.clone(),
                };
                tasks.spawn(connection(stream, peer, served, (place, open)));
            }
            Some((_, Err(error))) => {
                tracing::warn!(error = %error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            None => return,
        }
    }
}

/// What every connection needs.
struct Served {
    acceptor: Arc<Acceptor>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

async fn connection<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    peer: SocketAddr,
    served: Served,
    _held: (OwnedSemaphorePermit, Open),
) {
    let limits = *served.acceptor.limits();
    let activity = Activity::new();
    let service = service_fn(|request| {
        let (acceptor, in_hand) = (Arc::clone(&served.acceptor), activity.begin());
        let tasks = served.tasks.clone();
        async move {
            let answer = acceptor.accept(request, peer.ip(), &tasks).await;
            drop(in_hand);
            Ok::<_, Infallible>(answer)
        }
    });
    let stream = FirstBytes::within(limits.header_deadline, stream);
    let builder = protocols(&limits);
    let serving = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => Some(ended),
        () = served.shutdown.cancelled() => None,
        () = activity.idle_for(limits.idle) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            serving.as_mut().graceful_shutdown();
            tokio::select! {
                ended = serving => ended,
                () = activity.had_its_time(GRACE) => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = %error, "a connection ended early");
    }
}

fn protocols(limits: &IngestLimits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_deadline)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_ANSWER)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_HEAD_BYTES as u32)
        .max_concurrent_streams(256);
    builder
}
