//! REST: the same service as gRPC, for callers who speak HTTP and JSON.
//!
//! One transcoder, driven by the descriptors: the `google.api.http` rules say
//! which verb and path stand for which method ([`rules`], [`route`]), path,
//! query and body become its message ([`request`]), the call goes through the
//! same in-process router as any gRPC call ([`call`]), and the answer comes
//! back as JSON or as server-sent events ([`events`], [`problem`]).
//!
//! Owns the HTTP side and the JSON shapes. Refuses to know what any method
//! does: authorisation, limits, validation and audit run once, behind the call.
//!
//! Invariants: bodies and waits have bounds; a caller without rights learns
//! that and nothing else about a known path; nothing a caller sends becomes
//! a 5xx of this module.

mod call;
mod codes;
mod events;
mod fault;
mod frames;
mod json;
mod problem;
mod query;
mod request;
mod route;
pub mod rules;
mod shape;
mod violation;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request, StatusCode};
use http_body::Body as _;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use prost::Message as _;
use prost_reflect::DescriptorPool;
use tokio::time::timeout;
use tonic::{Code, Status};
use tower::ServiceExt as _;

use call::Answer;
use problem::Problem;
use route::{Found, Missing, Routes};
pub use rules::InvalidRules;

/// Bounds of a call.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a request body, and of the message it becomes.
    pub body: usize,
    /// From the first byte to the answer; for streams, to its first byte.
    pub call: Duration,
    /// Silence after which a stream sends a comment.
    pub keep_alive: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 4 * 1024 * 1024,
            call: Duration::from_secs(30),
            keep_alive: Duration::from_secs(15),
        }
    }
}

/// Serves gRPC and REST on one router: what is gRPC passes to `grpc`, all else
/// is transcoded into calls of it. Everything hangs on the fallback, so routes
/// added to the result (health, metrics) win.
///
/// # Errors
/// [`InvalidRules`] when the annotations in the pool cannot be served.
pub fn router(grpc: Router, pool: DescriptorPool) -> Result<Router, InvalidRules> {
    router_with(grpc, pool, Limits::default())
}

/// The same with other bounds.
///
/// # Errors
/// As [`router`].
pub fn router_with(
    grpc: Router,
    pool: DescriptorPool,
    limits: Limits,
) -> Result<Router, InvalidRules> {
    let rest = Rest {
        grpc,
        routes: Routes::new(rules::rules(&pool)?),
        limits,
    };
    Ok(Router::new().fallback(serve).with_state(Arc::new(rest)))
}

struct Rest {
    grpc: Router,
    routes: Routes,
    limits: Limits,
}

async fn serve(State(rest): State<Arc<Rest>>, request: Request<Body>) -> Response {
    if is_grpc(&request) {
        return rest.grpc.clone().oneshot(request).await.into_response();
    }
    let head_only = request.method() == Method::HEAD;
    let answer = rest.transcode(request).await;
    let response = answer.unwrap_or_else(Problem::into_response);
    if head_only {
        return response.map(|_| Body::empty());
    }
    response
}

fn is_grpc(request: &Request<Body>) -> bool {
    let kind = request.headers().get(CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

impl Rest {
    async fn transcode(&self, request: Request<Body>) -> Result<Response, Problem> {
        let (parts, body) = request.into_parts();
        let found = self
            .routes
            .find(&parts.method, parts.uri.path())
            .map_err(|missing| not_found(missing, &parts.method))?;
        let rule = &found.rule;
        let frame = match self.frame(&found, &parts, body).await {
            Ok(frame) => frame,
            Err(problem) => {
                return Err(self.refused_anyway(&found, &parts).await.unwrap_or(problem));
            }
        };
        let called = self.in_time(call::call(&self.grpc, &rule.method, &parts, Some(frame)));
        let answer = called
            .await
            .map_err(|status| Problem::from_status(&status, rule))?;
        if rule.method.is_server_streaming() {
            let Answer { headers, frames } = answer;
            let keep_alive = self.limits.keep_alive;
            let mut response = events::response(Arc::clone(rule), frames, keep_alive);
            response.headers_mut().extend(headers);
            return Ok(response);
        }
        self.in_time(unary(&found, answer))
            .await
            .map_err(|status| Problem::from_status(&status, rule))
    }

    /// The call's message in its frame.
    async fn frame(
        &self,
        found: &Found,
        parts: &http::request::Parts,
        body: Body,
    ) -> Result<Bytes, Problem> {
        let body = self.body(body).await?;
        let query = parts.uri.query().unwrap_or_default();
        let message = request::message(found, query, &body).map_err(Problem::from_faults)?;
        let bytes = message.encode_to_vec();
        if bytes.len() > self.limits.body {
            return Err(too_large(self.limits.body));
        }
        frames::frame(&bytes).ok_or_else(|| too_large(self.limits.body))
    }

    async fn body(&self, body: Body) -> Result<Bytes, Problem> {
        let limit = self.limits.body;
        if body.size_hint().lower() > limit as u64 {
            return Err(too_large(limit));
        }
        let collected = timeout(self.limits.call, Limited::new(body, limit).collect());
        match collected.await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large(limit)),
            Ok(Err(_)) => Err(Problem::new(
                StatusCode::BAD_REQUEST,
                codes::name(Code::InvalidArgument),
                "the body broke off",
            )
            .hint("Send the whole body.")),
            Err(_) => Err(Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                codes::name(Code::DeadlineExceeded),
                "the body did not arrive in time",
            )
            .hint("Send the whole body at once.")),
        }
    }

    /// Before a caller is told what is wrong with a call, the layers in front
    /// of the service judge the caller. A call without a message passes them
    /// and ends before any handler.
    async fn refused_anyway(&self, found: &Found, parts: &http::request::Parts) -> Option<Problem> {
        let called = self.in_time(call::call(&self.grpc, &found.rule.method, parts, None));
        let status = match called.await {
            Ok(mut answer) => self.in_time(answer.frames.next()).await.err()?,
            Err(status) => status,
        };
        let is_refusal = matches!(
            status.code(),
            Code::Unauthenticated | Code::PermissionDenied | Code::ResourceExhausted
        );
        is_refusal.then(|| Problem::from_status(&status, &found.rule))
    }

    async fn in_time<T>(&self, work: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
        let late = |_| Status::deadline_exceeded("the call took too long");
        timeout(self.limits.call, work).await.map_err(late)?
    }
}

async fn unary(found: &Found, answer: Answer) -> Result<Response, Status> {
    let Answer {
        headers,
        mut frames,
    } = answer;
    let missing = || Status::internal("the answer has no message");
    let bytes = frames.next().await?.ok_or_else(missing)?;
    // The status stands behind the message.
    if frames.next().await?.is_some() {
        return Err(Status::internal("the answer has two messages"));
    }
    let json = events::to_json(&found.rule, bytes)?;
    let mut response = problem::json_response(success(found), &json);
    for (name, value) in headers {
        if let Some(name) = name {
            response.headers_mut().entry(name).or_insert(value);
        }
    }
    Ok(response)
}

/// 200, but for what is only begun when the answer is given.
fn success(found: &Found) -> StatusCode {
    match found.rule.method.full_name() {
        "hookplane.v1.EventService.RetryEvent" => StatusCode::ACCEPTED,
        _ => StatusCode::OK,
    }
}

fn not_found(missing: Missing, verb: &Method) -> Problem {
    match missing {
        Missing::Path => Problem::new(
            StatusCode::NOT_FOUND,
            codes::name(Code::NotFound),
            "there is nothing at this path",
        )
        .hint("Check the path: `/v1/sources` for example."),
        Missing::Verb(verbs) => Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "METHOD_NOT_ALLOWED",
            format!("{verb} is not possible at this path"),
        )
        .hint(format!("Use one of {verbs}."))
        .allow(verbs),
    }
}

fn too_large(limit: usize) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "BODY_TOO_LARGE",
        format!("the body is larger than {limit} bytes"),
    )
    .hint("Send less in one call.")
}
