//! REST: the same service as gRPC, for callers who speak HTTP and JSON.
//!
//! One transcoder, driven by the descriptors: the `google.api.http` rules say
//! which verb and path stand for which method ([`rules`], [`route`]), the
//! caller is judged ([`gate`]), path, query and body become the message
//! ([`body`], [`request`]), the call goes through the same in-process router
//! as any gRPC call ([`call`]), and the answer comes back as JSON or as
//! server-sent events ([`events`], [`problem`]).
//!
//! Owns the HTTP side and the JSON shapes. Refuses to know what any method
//! does: authorisation, limits, validation and audit run once, behind the call.
//!
//! Invariants: bodies and waits have bounds, alone and together; no byte of a
//! body is read for a caller without rights, who learns that and nothing else
//! about a known path; nothing a caller sends becomes a 5xx of this module but
//! the refusal of more bodies than there is room for.

mod body;
mod call;
mod codes;
mod conditional;
mod events;
mod fault;
mod frames;
mod gate;
mod json;
pub mod openapi;
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
use prost::Message as _;
use prost_reflect::DescriptorPool;
use tokio::time::timeout;
use tonic::{Code, Status};
use tower::ServiceExt as _;

use body::{Bodies, too_large};
use call::Answer;
pub use gate::{BodyCap, Gate};
use problem::Problem;
use route::{Found, Missing, Routes};
pub use rules::InvalidRules;
use rules::Rule;

/// Bounds of a call.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a request body, and of the message it becomes.
    pub body: usize,
    /// Bytes of all request bodies in hand at once.
    pub bodies: usize,
    /// From the first byte to the answer; for streams, to its first byte.
    pub call: Duration,
    /// Silence after which a stream sends a comment.
    pub keep_alive: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Many times the largest thing that can be configured.
            body: 1024 * 1024,
            bodies: 32 * 1024 * 1024,
            call: Duration::from_secs(30),
            keep_alive: Duration::from_secs(15),
        }
    }
}

/// Serves gRPC and REST on one router: what is gRPC passes to `grpc`, all else
/// is judged by `gate` and transcoded into calls of it. Everything hangs on the
/// fallback, so routes added to the result (health, metrics) win.
///
/// # Errors
/// [`InvalidRules`] when the annotations in the pool cannot be served.
pub fn router(
    grpc: Router,
    pool: DescriptorPool,
    gate: impl Gate,
    limits: Limits,
) -> Result<Router, InvalidRules> {
    let rest = Rest {
        grpc,
        routes: Routes::new(rules::rules(&pool)?),
        gate: Box::new(gate),
        bodies: Bodies::new(limits),
        limits,
    };
    Ok(Router::new().fallback(serve).with_state(Arc::new(rest)))
}

struct Rest {
    grpc: Router,
    routes: Routes,
    gate: Box<dyn Gate>,
    bodies: Bodies,
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
        let (mut parts, body) = request.into_parts();
        let found = self
            .routes
            .find(&parts.method, parts.uri.path())
            .map_err(|missing| not_found(missing, &parts.method))?;
        let rule = &found.rule;
        let told = |status| Problem::from_status(&status, rule);
        let method = call::path(&rule.method);
        self.in_time(self.gate.judge(&method, &mut parts))
            .await
            .map_err(told)?;
        // Held until the call has ended, and with it the room it takes.
        let cap = parts.extensions.get::<BodyCap>();
        let cap = cap.map_or(usize::MAX, |cap| cap.0 as usize);
        let body = self.bodies.collect(body, cap).await?;
        let frame = self
            .frame(&found, &parts, &body.bytes)
            .map_err(|problem| *problem)?;
        let called = self.in_time(call::call(&self.grpc, &method, &parts, frame));
        let answer = called.await.map_err(told)?;
        if rule.method.is_server_streaming() {
            let Answer { headers, frames } = answer;
            let keep_alive = self.limits.keep_alive;
            let mut response = events::response(Arc::clone(rule), frames, keep_alive);
            response.headers_mut().extend(headers);
            return Ok(response);
        }
        self.in_time(unary(&found, answer)).await.map_err(told)
    }

    /// The call's message in its frame.
    fn frame(
        &self,
        found: &Found,
        parts: &http::request::Parts,
        body: &[u8],
    ) -> Result<Bytes, Box<Problem>> {
        let query = parts.uri.query().unwrap_or_default();
        let message = request::message(found, query, body, &parts.headers);
        let message = message.map_err(Problem::from_faults)?;
        let bytes = message.encode_to_vec();
        let frame = (bytes.len() <= self.limits.body).then(|| frames::frame(&bytes));
        let too_large = || Box::new(too_large(self.limits.body));
        frame.flatten().ok_or_else(too_large)
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
    let mut response = problem::json_response(success(&found.rule), &json);
    response.headers_mut().extend(conditional::etag(&json));
    for (name, value) in headers {
        if let Some(name) = name {
            response.headers_mut().entry(name).or_insert(value);
        }
    }
    Ok(response)
}

/// 200, but for what is only begun when the answer is given, and for what that contract answers 201.
fn success(rule: &Rule) -> StatusCode {
    match rule.method.full_name() {
        "hookplane.v1.EventService.RetryEvent"
        | "hookplane.v1.EventService.ReleaseEvent"
        | "hookplane.v1.RequestService.ReplayRequest" => StatusCode::ACCEPTED,
        "hookplane.v1.BulkOperationService.CreateEventBulkOperation"
        | "hookplane.v1.BulkOperationService.CreateRequestBulkOperation" => StatusCode::CREATED,
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
