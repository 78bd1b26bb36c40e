//! Errors of the API in one form: code, message, detail, hint, fields.
//!
//! Owns how the details of a gRPC status are read (`ErrorInfo`, `BadRequest`,
//! `RetryInfo`). Refuses to know how they are shown.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::settings::InvalidSettings;

/// A call that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The gRPC code.
    pub status: Code,
    /// Machine-readable: the server's reason, or the name of the gRPC code.
    pub code: String,
    pub message: String,
    pub detail: Option<String>,
    /// What to do next.
    pub hint: Option<String>,
    /// Which fields of the request are at fault.
    pub fields: Vec<FieldError>,
    /// What else the server told, the id of the existing resource for example.
    pub data: BTreeMap<String, String>,
    /// How long the server asks to wait before the next try.
    pub retry_after: Option<Duration>,
}

/// One field at fault and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    pub field: String,
    pub message: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl std::error::Error for Error {}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        if let Some(unreachable) = unreachable(&status) {
            return unreachable;
        }
        let details = status.get_error_details();
        let (mut code, mut data) = (code_name(status.code()).to_owned(), BTreeMap::new());
        if let Some(info) = details.error_info() {
            if !info.reason.is_empty() {
                code.clone_from(&info.reason);
            }
            data.extend(info.metadata.clone());
        }
        let fields = details
            .bad_request()
            .map(|bad| {
                bad.field_violations
                    .iter()
                    .map(|violation| FieldError {
                        field: violation.field.clone(),
                        message: violation.description.clone(),
                    })
                    .collect()
            })
            .unwrap_or_default();
        Self {
            status: status.code(),
            code,
            message: status.message().to_owned(),
            detail: data.remove("detail"),
            hint: data.remove("hint"),
            fields,
            data,
            retry_after: details.retry_info().and_then(|info| info.retry_delay),
        }
    }
}

impl From<InvalidSettings> for Error {
    fn from(invalid: InvalidSettings) -> Self {
        Self {
            status: Code::InvalidArgument,
            code: "SETTINGS_INVALID".to_owned(),
            message: invalid.to_string(),
            detail: None,
            hint: None,
            fields: Vec::new(),
            data: BTreeMap::new(),
            retry_after: None,
        }
    }
}

/// A failure of the connection, not of the call: no server has spoken.
fn unreachable(status: &Status) -> Option<Error> {
    let cause = status.source()?;
    let transport = cause.downcast_ref::<tonic::transport::Error>()?;
    let mut detail = transport.to_string();
    let mut next = transport.source();
    while let Some(deeper) = next {
        let text = deeper.to_string();
        if !detail.ends_with(&text) {
            detail = format!("{detail}: {text}");
        }
        next = deeper.source();
    }
    Some(Error {
        status: Code::Unavailable,
        code: "CONTROL_PLANE_UNREACHABLE".to_owned(),
        message: "the control plane cannot be reached".to_owned(),
        detail: Some(detail),
        hint: Some("check that it runs and that the address is right".to_owned()),
        fields: Vec::new(),
        data: BTreeMap::new(),
        retry_after: None,
    })
}

fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn details_of_a_status_become_code_hint_and_fields() {
        let mut details = ErrorDetails::new();
        let metadata = HashMap::from([
            ("hint".to_owned(), "copy it again".to_owned()),
            ("detail".to_owned(), "it is cut short".to_owned()),
            ("id".to_owned(), "src_1".to_owned()),
        ]);
        details.set_error_info("SECRET_INVALID", "hookplane", metadata);
        details.add_bad_request_violation("config.auth", "no secret");
        let status = Status::with_error_details(Code::InvalidArgument, "bad secret", details);

        let error = Error::from(status);
        assert_eq!(error.code, "SECRET_INVALID");
        assert_eq!(error.message, "bad secret");
        assert_eq!(error.hint.as_deref(), Some("copy it again"));
        assert_eq!(error.detail.as_deref(), Some("it is cut short"));
        assert_eq!(error.data.get("id").map(String::as_str), Some("src_1"));
        assert_eq!(error.fields[0].field, "config.auth");
    }

    #[test]
    fn a_bare_status_keeps_the_name_of_its_code() {
        let error = Error::from(Status::not_found("no such source"));
        assert_eq!((error.code.as_str(), error.hint), ("NOT_FOUND", None));
    }

    #[tokio::test]
    async fn nobody_listening_is_told_as_such() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let client = crate::Client::connect(crate::Settings::new(url, "hpk_x")).unwrap();
        let status = client
            .sources()
            .list_sources(crate::v1::ListSourcesRequest::default())
            .await
            .unwrap_err();
        let error = Error::from(status);
        assert_eq!(error.code, "CONTROL_PLANE_UNREACHABLE", "{error:?}");
        assert!(error.hint.is_some());
    }
}
