//! A receiver: takes deliveries as the plan says and remembers each.

use std::convert::Infallible;
use std::future::pending;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;

use crate::history::{Fact, History, Reception, now};
use crate::network::listen;
use crate::plan::Plan;

pub(crate) const PORT: u16 = 80;
/// The longest that a slow answer takes; the agent does not wait for the slowest.
const SLOWEST: u64 = 3_000;

/// Serves until its host is ended.
pub(crate) async fn serve(name: &'static str, plan: Arc<Plan>, history: History) -> io::Result<()> {
    let listener = listen(PORT).await?;
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        let (plan, history) = (Arc::clone(&plan), history.clone());
        connections.spawn(async move {
            let service = service_fn(|request| take(request, name, &plan, &history));
            let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            // Ends with an error when the agent hangs up or an answer is cut off.
            drop(served.await);
        });
        while connections.try_join_next().is_some() {}
    }
}

/// The connection is to be closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("cut off")]
struct CutOff;

async fn take(
    request: Request<Incoming>,
    name: &'static str,
    plan: &Plan,
    history: &History,
) -> Result<Response<Empty<Bytes>>, CutOff> {
    let header = |name: &str| {
        let value = request
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let (message, event_id) = (header("svix-id"), header("hookplane-event-id"));
    let attempt = header("hookplane-attempt").parse().unwrap_or(0);
    if request.into_body().collect().await.is_err() {
        return Err(CutOff);
    }
    let drawn = of_delivery(plan.seed, &event_id, attempt);
    let reception = plan.reception(name, now(), drawn);
    history.add(Fact::Arrived {
        receiver: name,
        message,
        event_id,
        attempt,
        reception,
    });
    match reception {
        Reception::Good => Ok(answer(200, None)),
        Reception::Slow => {
            tokio::time::sleep(Duration::from_millis(300 + drawn % SLOWEST)).await;
            Ok(answer(200, None))
        }
        Reception::Refused(status, after) => Ok(answer(status, after)),
        Reception::Hung => {
            pending::<Infallible>().await;
            Err(CutOff)
        }
        Reception::Cut => Err(CutOff),
    }
}

fn answer(status: u16, after: Option<u32>) -> Response<Empty<Bytes>> {
    let mut answer = Response::new(Empty::new());
    *answer.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
    if let Some(seconds) = after {
        let value = http::HeaderValue::from(seconds);
        answer
            .headers_mut()
            .insert(http::header::RETRY_AFTER, value);
    }
    answer
}

/// A number that belongs to this try, whatever else happens before it.
fn of_delivery(seed: u64, event_id: &str, attempt: u32) -> u64 {
    let mut hasher = DefaultHasher::new();
    (seed, event_id, attempt).hash(&mut hasher);
    hasher.finish() >> 1
}
