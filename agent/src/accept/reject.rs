//! Refusals of the stages in one form: what to tell the sender, what to keep for operators.

use crate::config::Source;
use crate::ingest::{Call, NoRoom, REFUSED_BODY_KEPT, Refused};
use crate::store::{NewRequest, Rejection, RequestRecord};
use crate::verify::Disbelieved;
use std::sync::Arc;

use http::{Method, StatusCode};

pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    /// For the sender; says nothing that helps a forger.
    pub(super) message: &'static str,
    /// For 405.
    pub(super) allow: Vec<Method>,
    kept: Option<Kept>,
}

struct Kept {
    source: Arc<Source>,
    call: Call,
    reason: &'static str,
    detail: String,
}

/// What ingest refused, or which bound it met: nothing is kept then, and it may come again.
pub(super) fn of_ingest(refused: Refused) -> Result<Refusal, NoRoom> {
    Ok(match refused {
        Refused::NoRoom(full) => return Err(full),
        Refused::UnknownSource => Refusal {
            status: StatusCode::NOT_FOUND,
            code: "SOURCE_NOT_FOUND",
            message: "there is no such source",
            allow: Vec::new(),
            kept: None,
        },
        Refused::Disabled(source, call) => {
            let told = (
                StatusCode::FORBIDDEN,
                "SOURCE_DISABLED",
                "the source is disabled",
            );
            refusal(told, source, call, "disabled", String::new())
        }
        Refused::HeadersTooLarge(source, call, why) => {
            let told = (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "HEADERS_TOO_LARGE",
                "the headers are too many or too large",
            );
            refusal(told, source, call, "headers_too_large", why)
        }
        Refused::MethodNotAllowed(source, call) => {
            let allow = source.methods.clone();
            let told = (
                StatusCode::METHOD_NOT_ALLOWED,
                "SOURCE_METHOD_NOT_ALLOWED",
                "the source does not take this method",
            );
            let detail = format!("{} is not among {allow:?}", call.method);
            Refusal {
                allow,
                ..refusal(told, source, call, "method", detail)
            }
        }
        Refused::PathInvalid(source, call, why) => {
            let told = (
                StatusCode::BAD_REQUEST,
                "PATH_INVALID",
                "the path cannot be taken",
            );
            refusal(told, source, call, "path_invalid", why.to_owned())
        }
        Refused::TooLarge(source, call) => {
            let cap = source.max_body_bytes;
            let told = (
                StatusCode::PAYLOAD_TOO_LARGE,
                "BODY_TOO_LARGE",
                "the body is too large",
            );
            refusal(
                told,
                source,
                call,
                "body_too_large",
                format!("{cap} bytes are allowed"),
            )
        }
        Refused::Incomplete(source, call, why) => {
            let told = (
                StatusCode::REQUEST_TIMEOUT,
                "BODY_INCOMPLETE",
                "the body did not arrive",
            );
            refusal(told, source, call, "body_incomplete", why.to_owned())
        }
    })
}

pub(super) fn of_verify(disbelieved: Disbelieved) -> Refusal {
    let Disbelieved {
        source,
        call,
        refusal: why,
    } = disbelieved;
    let told = (
        StatusCode::UNAUTHORIZED,
        Rejection::UNVERIFIED,
        "the request is not authentic",
    );
    refusal(told, source, call, why.reason.as_str(), why.detail)
}

impl Refusal {
    /// The source it counts for and the bytes received; nothing for an unknown source.
    pub(super) fn measured(&self) -> Option<(&Source, u64)> {
        let kept = self.kept.as_ref()?;
        Some((&kept.source, kept.call.body_size))
    }

    /// What to keep, once; nothing for an unknown source.
    pub(super) fn take_record(&mut self, id: String) -> Option<NewRequest> {
        let Kept {
            source,
            mut call,
            reason,
            detail,
        } = self.kept.take()?;
        // A refused one too: a wrong method does not make the key a wrong one.
        call.hide_credentials(&source.verifier);
        let mut body = call.body;
        body.truncate(REFUSED_BODY_KEPT);
        let request = RequestRecord {
            id,
            team_id: source.team_id.clone(),
            source_id: source.id.clone(),
            rejection: Some(Rejection {
                cause: self.code.to_owned(),
                reason: reason.to_owned(),
                detail,
            }),
            verified_by: None,
            message_id: None,
            event_type: None,
            ingested_at: call.received_at,
            client_ip: call.client_ip.to_string(),
            config_revision: call.config_revision,
            method: call.method.to_string(),
            path: call.path,
            query: call.query,
            headers: call.headers,
            body,
            body_size: call.body_size,
            replay: None,
        };
        Some(NewRequest {
            request,
            events: Vec::new(),
            dedupe_window_millis: 0,
            branch_keys: Vec::new(),
        })
    }
}

fn refusal(
    (status, code, message): (StatusCode, &'static str, &'static str),
    source: Arc<Source>,
    call: Call,
    reason: &'static str,
    detail: String,
) -> Refusal {
    let kept = Some(Kept {
        source,
        call,
        reason,
        detail,
    });
    Refusal {
        status,
        code,
        message,
        allow: Vec::new(),
        kept,
    }
}
