//! Health, readiness and metrics, on a thread and a runtime of their own, so that
//! they answer while the workers are busy.
//!
//! Only reads: facts, counters and numbers that the other parts left. It never
//! asks the store, which may be what hangs.

mod exposition;

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Semaphore, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::SharedClock;
use crate::deliver::Gates;
use crate::meter::Meter;
use crate::readiness::Readiness;
use crate::report::spool::Spool;
use crate::vitals::Vitals;
use exposition::Exposition;

const CONNECTIONS: usize = 64;
const HEADER_DEADLINE: Duration = Duration::from_secs(5);
const CONNECTION_DEADLINE: Duration = Duration::from_secs(60);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Answer = hyper::Response<Full<Bytes>>;

/// What the listener shows.
pub(crate) struct Admin {
    readiness: Arc<Readiness>,
    clock: SharedClock,
    exposition: Exposition,
}

impl Admin {
    pub(crate) fn new(
        readiness: Arc<Readiness>,
        clock: SharedClock,
        (meter, gates): (Arc<Meter>, Arc<Gates>),
        vitals: Arc<Vitals>,
        spool: Arc<Spool>,
    ) -> Self {
        let exposition = Exposition::new(
            (meter, gates),
            vitals,
            spool,
            Arc::clone(&readiness),
            Arc::clone(&clock),
        );
        Self {
            readiness,
            clock,
            exposition,
        }
    }

    /// Serves on a thread of its own until `stop`; the receiver tells how it ended.
    ///
    /// # Errors
    /// When the thread or its runtime cannot be made.
    pub(crate) fn spawn(
        self,
        listener: TcpListener,
        stop: CancellationToken,
    ) -> io::Result<oneshot::Receiver<io::Result<()>>> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (ended, end) = oneshot::channel();
        std::thread::Builder::new()
            .name("admin".to_owned())
            .spawn(move || {
                let outcome = runtime.block_on(serve(listener, Arc::new(self), stop));
                // Nobody listens any more when the agent was dropped.
                drop(ended.send(outcome));
            })?;
        Ok(end)
    }

    fn answer(&self, request: &hyper::Request<Incoming>) -> Answer {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "GET only\n");
            answer
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return answer;
        }
        match request.uri().path() {
            "/healthz" => text(StatusCode::OK, "text/plain", "ok\n"),
            "/readyz" => self.ready(),
            "/metrics" => match self.exposition.render() {
                Ok(body) => text(StatusCode::OK, OPEN_METRICS, body),
                Err(error) => {
                    tracing::error!(error = %error, "metrics cannot be written");
                    text(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", "failed\n")
                }
            },
            _ => text(
                StatusCode::NOT_FOUND,
                "text/plain",
                "/healthz, /readyz and /metrics are here\n",
            ),
        }
    }

    fn ready(&self) -> Answer {
        let report = self.readiness.report(self.clock.now_millis());
        let status = if report.ready {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        let mut body = serde_json::to_vec(&report).expect("texts and numbers");
        body.push(b'\n');
        text(status, "application/json", body)
    }
}

async fn serve(
    listener: TcpListener,
    admin: Arc<Admin>,
    stop: CancellationToken,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let tasks = TaskTracker::new();
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            next = next => next,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(error = %error, "an admin connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let admin = Arc::clone(&admin);
        tasks.spawn(async move {
            let service = service_fn(|request| {
                let answer = admin.answer(&request);
                async move { Ok::<_, Infallible>(answer) }
            });
            let serving = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_DEADLINE)
                .serve_connection(TokioIo::new(stream), service);
            if let Ok(Err(error)) = tokio::time::timeout(CONNECTION_DEADLINE, serving).await {
                tracing::debug!(error = %error, "an admin connection ended early");
            }
            drop(place);
        });
    }
}

fn text(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Answer::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}
