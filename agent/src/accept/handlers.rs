//! What handlers say to the agent: `/handlers/v1/…` beside the sources.
//!
//! Owns the paths, the key and the bounds of a call. Refuses to know what reports mean
//! (`handlers/reports`). Invariants: nothing is kept for who has no key of the source that he
//! speaks of; an answer tells no more than that the key is not good.

mod reports;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::Answer;
use crate::config::{Configuration, Source};
use crate::ingest::{Pace, Place, Unread, read_body};
use crate::store::{Store, StoreError};

const PREFIX: &str = "/handlers/";
const REPORTS: &str = "/handlers/v1/reports";
const KEY_PREFIX: &str = "hph_";
const MOST_BYTES: usize = 1_024 * 1_024;

/// Why a call, or a part of it, is refused.
struct Fault {
    status: StatusCode,
    code: &'static str,
    message: String,
    hint: &'static str,
}

/// One call of a handler.
pub(super) struct Hearing<'a> {
    pub(super) configuration: &'a Configuration,
    pub(super) store: &'a Arc<dyn Store>,
    pub(super) now: u64,
    pub(super) pace: Pace,
}

/// SHA-256 of the key that a call brought.
struct Shown([u8; 32]);

/// Whether a path is for handlers; ids of sources cannot look like it.
pub(super) fn is_meant(path: &str) -> bool {
    path.starts_with(PREFIX)
}

impl Hearing<'_> {
    /// # Errors
    /// With a code, when the handler should come again and nothing more is to be said.
    pub(super) async fn answer(
        &self,
        request: hyper::Request<Incoming>,
        place: &mut Place,
    ) -> Result<Answer, &'static str> {
        let (head, body) = request.into_parts();
        if head.uri.path() != REPORTS {
            return Ok(refused(&Fault {
                status: StatusCode::NOT_FOUND,
                code: "HANDLER_PATH_UNKNOWN",
                message: "this agent has no such path for handlers".to_owned(),
                hint: "reports go to /handlers/v1/reports; is the agent older than the SDK?",
            }));
        }
        if head.method != Method::POST {
            let mut answer = refused(&Fault {
                status: StatusCode::METHOD_NOT_ALLOWED,
                code: "METHOD_NOT_ALLOWED",
                message: "reports are posted".to_owned(),
                hint: "use POST",
            });
            let allowed = HeaderValue::from_static("POST");
            answer.headers_mut().insert(ALLOW, allowed);
            return Ok(answer);
        }
        let Some(shown) = Shown::in_headers(&head.headers) else {
            return Ok(refused(&key_refused()));
        };
        let body = match read_body(body, MOST_BYTES, self.pace, place).await {
            Ok(body) => body,
            Err(Unread::NoRoom(full)) => return Err(full.code()),
            Err(Unread::TooLarge) => {
                return Ok(refused(&Fault {
                    status: StatusCode::PAYLOAD_TOO_LARGE,
                    code: "BODY_TOO_LARGE",
                    message: "the call has more than 1 MiB".to_owned(),
                    hint: "send fewer reports at once",
                }));
            }
            Err(Unread::Incomplete(why)) => {
                return Ok(refused(&invalid(why.to_owned())));
            }
        };
        match self.reports(&shown, &body).await {
            Ok(heard) => Ok(with_json(StatusCode::ACCEPTED, &heard)),
            Err(reports::Stopped::Refused(fault)) => Ok(refused(&fault)),
            Err(reports::Stopped::Store(error)) => {
                tracing::warn!(error = %error, "reports of handlers could not be stored");
                Err(match error {
                    StoreError::Busy => "STORE_BUSY",
                    _ => "STORE_UNAVAILABLE",
                })
            }
        }
    }

    /// The source that a handler speaks of, if his key is one of it.
    fn source(&self, id: &str, shown: &Shown) -> Option<&Source> {
        let source = self.configuration.sources.get(id)?;
        let known = source.handler_keys.iter().any(|key| key.sha256 == shown.0);
        known.then_some(source.as_ref())
    }
}

impl Shown {
    /// Only the hash is compared, so that the time this takes says nothing of a key.
    fn in_headers(headers: &HeaderMap) -> Option<Self> {
        let text = headers.get(AUTHORIZATION)?.to_str().ok()?;
        let (scheme, key) = text.split_once(' ')?;
        let key = key.trim();
        let right = scheme.eq_ignore_ascii_case("bearer") && key.starts_with(KEY_PREFIX);
        right.then(|| Self(Sha256::digest(key.as_bytes()).into()))
    }
}

fn key_refused() -> Fault {
    Fault {
        status: StatusCode::UNAUTHORIZED,
        code: "HANDLER_KEY_REFUSED",
        message: "no valid handler key for this source".to_owned(),
        hint: "send `Authorization: Bearer hph_…`; `hookplane handler-keys list` shows which key is for which source",
    }
}

fn invalid(message: String) -> Fault {
    Fault {
        status: StatusCode::BAD_REQUEST,
        code: "REPORTS_INVALID",
        message,
        hint: "a call is {\"reports\": […]} in JSON",
    }
}

fn refused(fault: &Fault) -> Answer {
    let body = json!({ "error": fault.message, "code": fault.code, "hint": fault.hint });
    with_json(fault.status, &body)
}

fn with_json(status: StatusCode, body: &Value) -> Answer {
    let mut answer = Answer::new(Full::new(Bytes::from(body.to_string())));
    let json = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(CONTENT_TYPE, json);
    *answer.status_mut() = status;
    answer
}
