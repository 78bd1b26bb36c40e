//! A stream of messages as server-sent events.
//!
//! Each message is the data of an unnamed event. A stream that ends well ends
//! with `event: end`, one that fails with `event: error` and the same JSON that
//! a failed call has. When the client leaves, the body is dropped and the call
//! with it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, HeaderName};
use prost_reflect::DynamicMessage;
use serde_json::Value;
use tonic::Status;

use super::frames::Frames;
use super::json::write;
use super::problem::Problem;
use super::rules::Rule;

/// Proxies that gather an answer before they pass it on are asked not to.
const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

pub(crate) fn response(rule: Arc<Rule>, frames: Frames, keep_alive: Duration) -> Response {
    let events = stream::unfold(Some((rule, frames)), |state| async {
        let (rule, mut frames) = state?;
        Some(match frames.next().await {
            Ok(Some(bytes)) => match to_json(&rule, bytes) {
                Ok(json) => (data(&json), Some((rule, frames))),
                Err(status) => (failure(&rule, &status), None),
            },
            Ok(None) => (Event::default().event("end").data("{}"), None),
            Err(status) => (failure(&rule, &status), None),
        })
    });
    let events = futures::StreamExt::map(events, Ok::<_, Infallible>);
    let keep_alive = KeepAlive::new().interval(keep_alive).text("keep-alive");
    let mut response = Sse::new(events).keep_alive(keep_alive).into_response();
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(BUFFERING, HeaderValue::from_static("no"));
    response
}

/// A message of the answer as the API shows it.
pub(crate) fn to_json(rule: &Rule, bytes: Bytes) -> Result<Value, Status> {
    DynamicMessage::decode(rule.method.output(), bytes)
        .map(|message| write::message(&message))
        .map_err(|error| Status::internal(format!("the answer cannot be read: {error}")))
}

fn data(json: &Value) -> Event {
    // One line: JSON text has no line breaks of its own.
    Event::default().data(json.to_string())
}

fn failure(rule: &Rule, status: &Status) -> Event {
    let problem = Problem::from_status(status, rule);
    Event::default()
        .event("error")
        .data(problem.to_json().to_string())
}
