//! The listener: connections in, answers out, a drain that finishes what is in flight.
//!
//! Invariant: a connection lives as long as it brings requests and not much
//! longer, whatever the other side does or leaves undone.

mod certificates;
mod first_bytes;
mod idle;
mod listener;
pub(super) mod open;
mod tls;

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Acceptor, IngestLimits};
use crate::ingest::{MAX_HEAD_BYTES, MAX_HEADERS};
use first_bytes::FirstBytes;
use idle::Activity;
use open::Open;

pub use certificates::{Certificates, InvalidCertificate};
pub use listener::Listener;
pub use tls::TlsListener;

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
/// Several may serve with one acceptor, each its own listener: the bounds hold for all together.
pub async fn serve<L: Listener>(
    listener: L,
    acceptor: Arc<Acceptor>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
) {
    loop {
        let next = async {
            let accepted = listener.accept().await;
            // After the connection: a place kept for whoever may come here is missing elsewhere.
            let place = acceptor.connections().place().await;
            (accepted, place)
        };
        let (accepted, place) = tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            next = next => next,
        };
        match accepted {
            Ok((stream, peer)) => {
                let Some(open) = place.and_then(|place| place.open(peer.ip())) else {
                    tracing::debug!(client.ip = %peer.ip(), "a caller has too many connections");
                    continue;
                };
                let session = Session {
                    acceptor: Arc::clone(&acceptor),
                    tasks: tasks.clone(),
                    client: peer.ip(),
                    activity: Activity::new(),
                    _open: open,
                };
                // One of its own: all connections look at it each time they are woken.
                let shutdown = shutdown.child_token();
                tasks.spawn(connection(stream, session, shutdown));
            }
            Err(error) => {
                tracing::warn!(error = %error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// What a connection needs for its requests.
struct Session {
    acceptor: Arc<Acceptor>,
    tasks: TaskTracker,
    client: IpAddr,
    activity: Activity,
    _open: Open,
}

async fn connection<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    session: Session,
    shutdown: CancellationToken,
) {
    let limits = *session.acceptor.limits();
    let session = Arc::new(session);
    let service = service_fn(|request| {
        let session = Arc::clone(&session);
        async move {
            let in_hand = session.activity.begin();
            let accepting = session
                .acceptor
                .accept(request, session.client, &session.tasks);
            let answer = accepting.await;
            drop(in_hand);
            Ok::<_, Infallible>(answer)
        }
    });
    let stream = FirstBytes::within(limits.header_deadline, stream);
    let builder = protocols(&limits);
    let serving = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(serving);
    let ended = tokio::select! {
        biased;
        ended = serving.as_mut() => Some(ended),
        () = shutdown.cancelled() => None,
        () = session.activity.idle_for(limits.idle) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            serving.as_mut().graceful_shutdown();
            tokio::select! {
                biased;
                ended = serving => ended,
                () = session.activity.had_its_time(GRACE) => return,
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
