//! What is sent in place of what came, where the connection has a transformation.
//!
//! Owns how its parts replace those of the request. Refuses to know what an expression means. Made for
//! each try, of the request as it is stored and by the rule in force: so a rule that was mended heals what
//! failed, and what is stored stays as it came. Invariant: what cannot be transformed is not sent.

use std::sync::Arc;

use bytes::Bytes;
use hookplane_rules::{
    Input, MAX_LOOKED_INTO_BYTES, Transform, Transformed, headers_value, query_value,
};
use serde_json::Value;

use super::send::NoAnswer;
use crate::store::{DueEvent, Headers, RequestRecord, SentBody};

/// Of a body that was made, as much as of answers.
const BODY_KEPT: usize = 64 * 1_024;
/// They speak of the body that came.
const OF_THE_BODY: [&str; 4] = [
    "content-encoding",
    "content-md5",
    "content-digest",
    "digest",
];

/// The event as it is sent, and what is kept of its body if that was made.
///
/// # Errors
/// `transform_failed`: another try by the same rule cannot help.
pub(super) fn transformed(
    due: &DueEvent,
    transform: &Transform,
) -> Result<(DueEvent, Option<SentBody>), NoAnswer> {
    let request = due.request.as_ref();
    let made = apply(request, transform).map_err(|message| NoAnswer {
        code: "transform_failed",
        message,
        permanent: true,
    })?;
    let kept = made.body.as_ref().map(|body| SentBody {
        kept: Bytes::copy_from_slice(body.get(..BODY_KEPT).unwrap_or(body)),
        size: body.len() as u64,
    });
    let request = Arc::new(replaced(request, made));
    let event = Arc::clone(&due.event);
    Ok((DueEvent { event, request }, kept))
}

/// What would be sent of a request: path, query, headers and body of the answer count.
///
/// # Errors
/// Why nothing would be.
pub(crate) fn as_sent(
    request: &RequestRecord,
    transform: &Transform,
) -> Result<RequestRecord, String> {
    Ok(replaced(request, apply(request, transform)?))
}

fn apply(request: &RequestRecord, transform: &Transform) -> Result<Transformed, String> {
    let looks = transform.looks();
    let headers = looks.headers.then(|| {
        let pairs = request.headers.iter();
        headers_value(pairs.map(|(name, value)| (name.as_str(), value.as_ref())))
    });
    let query = looks.query.then(|| query_value(&request.query));
    // A larger one is refused by the rule, and need not be read for that.
    let read = looks.body && request.body.len() <= MAX_LOOKED_INTO_BYTES;
    let body: Option<Value> = read
        .then(|| serde_json::from_slice(&request.body).ok())
        .flatten();
    transform.apply(&Input {
        body: body.as_ref(),
        raw_body: &request.body,
        headers: headers.as_ref().unwrap_or(&Value::Null),
        query: query.as_ref().unwrap_or(&Value::Null),
        path: &request.path,
    })
}

fn replaced(request: &RequestRecord, made: Transformed) -> RequestRecord {
    let mut headers: Headers = request.headers.clone();
    if made.body.is_some() {
        headers.retain(|(name, _)| {
            let own = made.body_is_json && name.eq_ignore_ascii_case("content-type");
            !own && !OF_THE_BODY.iter().any(|one| name.eq_ignore_ascii_case(one))
        });
        if made.body_is_json {
            let json = Bytes::from_static(b"application/json");
            headers.push(("content-type".to_owned(), json));
        }
    }
    for (name, values) in made.headers {
        headers.retain(|(known, _)| !known.eq_ignore_ascii_case(&name));
        let values = values.into_iter();
        headers.extend(values.map(|value| (name.clone(), Bytes::from(value))));
    }
    let body = made.body.map_or_else(|| request.body.clone(), Bytes::from);
    RequestRecord {
        headers,
        body_size: body.len() as u64,
        body,
        path: made.path.unwrap_or_else(|| request.path.clone()),
        query: made.query.unwrap_or_else(|| request.query.clone()),
        ..request.clone()
    }
}
