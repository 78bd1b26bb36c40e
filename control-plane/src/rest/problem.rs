//! What a caller is told when a call fails: one JSON form for all causes.
//!
//! Owns the mapping of gRPC statuses and their details to HTTP. Invariant: an
//! error of ours ([`Code::Internal`] and its like) never shows its text.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::{Map, Value, json};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::fault::FieldFault;
use super::rules::Rule;
use super::{codes, violation};

/// Metadata of an ErrorInfo that has a place of its own in the answer.
const HINT: &str = "hint";
const DETAIL: &str = "detail";

/// A failed call.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    /// The name of the gRPC code, or a reason that says more.
    code: String,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
    fields: Vec<FieldFault>,
    /// About the resource in the way.
    data: Option<Value>,
    retry_after: Option<u64>,
    allow: Option<String>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self {
            status,
            code: code.to_owned(),
            message: message.into(),
            detail: None,
            hint: None,
            fields: Vec::new(),
            data: None,
            retry_after: None,
            allow: None,
        }
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    pub(crate) fn retry_after(self, seconds: u64) -> Self {
        Self {
            retry_after: Some(seconds),
            ..self
        }
    }

    pub(crate) fn allow(self, verbs: String) -> Self {
        Self {
            allow: Some(verbs),
            ..self
        }
    }

    /// Parts of the call that could not be read.
    pub(crate) fn from_faults(faults: Vec<FieldFault>) -> Self {
        let code = Code::InvalidArgument;
        let message = summary(&faults).unwrap_or_default();
        Self {
            fields: faults,
            ..Self::new(codes::http(code), codes::name(code), message)
        }
        .hint(codes::hint(code))
    }

    /// What the service said.
    pub(crate) fn from_status(status: &Status, rule: &Rule) -> Self {
        let code = status.code();
        let http = codes::http(code);
        if codes::is_ours(code) {
            tracing::error!(
                rpc.method = rule.method.full_name(),
                rpc.code = codes::name(code),
                error = status.message(),
                "a call failed"
            );
            return Self::new(http, codes::name(code), "something went wrong on our side")
                .hint(codes::hint(code));
        }
        let details = status.get_error_details();
        let fields: Vec<FieldFault> = details
            .bad_request()
            .into_iter()
            .flat_map(|request| &request.field_violations)
            .map(|fault| FieldFault {
                field: violation::shown(rule, &fault.field),
                message: fault.description.clone(),
            })
            .collect();
        let message = match status.message() {
            "" => summary(&fields).unwrap_or_else(|| code.description().to_owned()),
            message => message.to_owned(),
        };
        let info = details.error_info();
        let reason = info.map(|info| info.reason.as_str()).unwrap_or_default();
        let reason = match reason {
            "" => codes::specific(code),
            reason => reason,
        };
        let metadata = |key: &str| info.and_then(|info| info.metadata.get(key)).cloned();
        let data: Map<String, Value> = info
            .iter()
            .flat_map(|info| &info.metadata)
            .filter(|(key, _)| *key != HINT && *key != DETAIL)
            .map(|(key, value)| (key.clone(), Value::from(value.as_str())))
            .collect();
        let delay = details.retry_info().and_then(|info| info.retry_delay);
        Self {
            detail: metadata(DETAIL),
            hint: metadata(HINT).or_else(|| Some(codes::hint(code).to_owned())),
            data: (!data.is_empty()).then_some(Value::Object(data)),
            // Whole seconds, not too early.
            retry_after: delay.map(|delay| delay.as_secs() + u64::from(delay.subsec_nanos() > 0)),
            fields,
            ..Self::new(http, reason, message)
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        let fields = self
            .fields
            .iter()
            .map(|fault| json!({ "field": fault.field, "message": fault.message }));
        let mut body = json!({
            "error": self.message,
            "code": self.code,
            "message": self.message,
            "detail": self.detail,
            "hint": self.hint,
            "status": self.status.as_u16(),
            "fields": fields.collect::<Vec<_>>(),
        });
        if let Some(data) = &self.data {
            body["data"] = data.clone();
        }
        body
    }
}

fn summary(faults: &[FieldFault]) -> Option<String> {
    let first = faults.first()?;
    let message = format!("`{}` {}", first.field, first.message);
    Some(match faults.len() {
        1 => message,
        count => format!("{message} (and {} more, see `fields`)", count - 1),
    })
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = json_response(self.status, &self.to_json());
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(allow) = self
            .allow
            .and_then(|verbs| HeaderValue::try_from(verbs).ok())
        {
            headers.insert(ALLOW, allow);
        }
        response
    }
}

/// Answers may hold secrets and always describe a moment: nobody keeps them.
pub(crate) fn json_response(status: StatusCode, body: &Value) -> Response {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
