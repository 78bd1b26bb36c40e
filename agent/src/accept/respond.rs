//! The answers. A 2xx can only be made from a [`Stored`].

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use http_body_util::Full;
use serde_json::json;

use super::Answer;
use super::reject::Refusal;
use crate::config::CustomResponse;
use crate::store::stage::Stored;

const RETRY_SECONDS: HeaderValue = HeaderValue::from_static("5");

pub(super) fn stored(stored: &Stored, custom: Option<&CustomResponse>) -> Answer {
    if let Some(challenge) = stored.challenge() {
        return with_body(&challenge.content_type, Bytes::from(challenge.body.clone()));
    }
    if let Some(custom) = custom {
        return with_body(&custom.content_type, custom.body.clone());
    }
    let body = json!({
        "ok": true,
        "queued": true,
        "transport": "queue",
        "request_id": stored.request_id(),
    });
    with_body("application/json", body.to_string().into())
}

/// With an id only when there is something to be found under it.
pub(super) fn refused(refusal: &Refusal, request_id: Option<&str>) -> Answer {
    let mut answer = failure(refusal.status, refusal.code, refusal.message, request_id);
    if !refusal.allow.is_empty() {
        let names: Vec<&str> = refusal.allow.iter().map(http::Method::as_str).collect();
        if let Ok(value) = HeaderValue::try_from(names.join(", ")) {
            answer.headers_mut().insert(ALLOW, value);
        }
    }
    answer
}

/// Nothing was kept; the sender should come again.
pub(super) fn busy(code: &'static str) -> Answer {
    let status = StatusCode::SERVICE_UNAVAILABLE;
    let mut answer = failure(status, code, "try again later", None);
    answer.headers_mut().insert(RETRY_AFTER, RETRY_SECONDS);
    answer
}

fn failure(status: StatusCode, code: &str, message: &str, request_id: Option<&str>) -> Answer {
    let mut body = json!({ "error": message, "code": code });
    if let Some(id) = request_id {
        body["request_id"] = id.into();
    }
    let mut answer = with_body("application/json", body.to_string().into());
    *answer.status_mut() = status;
    answer
}

fn with_body(content_type: &str, body: Bytes) -> Answer {
    let mut answer = Answer::new(Full::new(body));
    let content_type = HeaderValue::try_from(content_type)
        .unwrap_or(HeaderValue::from_static("application/octet-stream"));
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    answer
}
