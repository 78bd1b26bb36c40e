//! The answers. A 2xx can only be made from a [`Stored`].

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use http_body_util::Full;
use serde::Serialize;
use serde_json::json;

use super::Answer;
use super::reject::Refusal;
use crate::config::CustomResponse;
use crate::store::stage::Stored;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const RETRY_SECONDS: HeaderValue = HeaderValue::from_static("5");

pub(super) fn stored(stored: &Stored, custom: Option<&CustomResponse>) -> Answer {
    if let Some(challenge) = stored.challenge() {
        let body = Bytes::from(challenge.body.clone());
        return with_body(media_type(&challenge.content_type), body);
    }
    if let Some(custom) = custom {
        return with_body(media_type(&custom.content_type), custom.body.clone());
    }
    let body = Accepted {
        ok: true,
        queued: true,
        transport: "queue",
        request_id: stored.request_id(),
    };
    let body = serde_json::to_vec(&body).expect("texts and truths");
    with_body(JSON, body.into())
}

/// Written out: it is the answer to nearly everything.
#[derive(Serialize)]
struct Accepted<'a> {
    ok: bool,
    queued: bool,
    transport: &'static str,
    request_id: &'a str,
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
    let mut answer = with_body(JSON, body.to_string().into());
    *answer.status_mut() = status;
    answer
}

fn media_type(text: &str) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("application/octet-stream"))
}

fn with_body(content_type: HeaderValue, body: Bytes) -> Answer {
    let mut answer = Answer::new(Full::new(body));
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    answer
}
