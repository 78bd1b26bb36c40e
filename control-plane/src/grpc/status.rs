//! Errors as gRPC statuses, in one place: code, message, reason, hint, faulty fields.

pub(crate) mod fleet;

use std::collections::HashMap;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::domain::{ResourceKind, Scope, Violation};
use crate::service::ServiceError;
use crate::store::{InvalidPage, StoreError};

const DOMAIN: &str = "hookplane";
/// More of them would help nobody, and they travel in a header.
const MAX_FAULTS: usize = 16;
/// The API's own reference, on the port that answered.
const HELP: &str = "/docs";
const RETRY: Duration = Duration::from_secs(5);

/// A status with a machine-readable reason and a hint that says what to do next.
#[must_use]
pub fn refused(code: Code, reason: &str, message: impl Into<String>, hint: &str) -> Status {
    status(code, reason, message, hint, &[], Vec::new())
}

/// INVALID_ARGUMENT with the faults; the message is the first one.
#[must_use]
pub fn invalid(faults: &[Violation]) -> Status {
    let message = faults
        .first()
        .map(|fault| format!("{}: {}", fault.field, fault.message))
        .unwrap_or_default();
    let fields = faults
        .iter()
        .take(MAX_FAULTS)
        .map(|fault| tonic_types::FieldViolation::new(&fault.field, &fault.message))
        .collect();
    let hint = "correct the named fields and send the call again";
    status(
        Code::InvalidArgument,
        "VALIDATION_FAILED",
        message,
        hint,
        &[],
        fields,
    )
}

/// PERMISSION_DENIED for a key without a scope.
#[must_use]
pub fn lacking(scope: Scope) -> Status {
    status(
        Code::PermissionDenied,
        "SCOPE_MISSING",
        format!("the API key has not the scope `{scope}`"),
        "use a key that has it, or have it granted to this one",
        &[("scope", scope.as_str())],
        Vec::new(),
    )
}

/// RESOURCE_EXHAUSTED for a key that calls too often.
#[must_use]
pub fn slow_down(per_minute: u32, wait: Duration) -> Status {
    let mut details = ErrorDetails::new();
    let hint = "wait as long as the retry info says, or use a key with a higher limit";
    details
        .set_error_info("RATE_LIMITED", DOMAIN, metadata(hint, &[]))
        .set_retry_info(Some(wait));
    let message = format!("the API key may make {per_minute} calls per minute");
    Status::with_error_details(Code::ResourceExhausted, message, details)
}

/// UNAVAILABLE, worth trying again after a few seconds.
#[must_use]
pub fn unavailable(reason: &str, message: impl Into<String>, hint: &str) -> Status {
    unavailable_for(reason, message, hint, RETRY)
}

/// UNAVAILABLE, worth trying again after so long.
#[must_use]
pub fn unavailable_for(
    reason: &str,
    message: impl Into<String>,
    hint: &str,
    after: Duration,
) -> Status {
    let mut details = ErrorDetails::new();
    details
        .set_error_info(reason, DOMAIN, metadata(hint, &[]))
        .add_help_link(hint, HELP)
        .set_retry_info(Some(after));
    Status::with_error_details(Code::Unavailable, message, details)
}

impl From<ServiceError> for Status {
    fn from(error: ServiceError) -> Self {
        let error = match error {
            ServiceError::NotFound { kind, id } => ServiceError::NotFound {
                kind,
                id: shown(&id),
            },
            other => other,
        };
        let message = error.to_string();
        match error {
            ServiceError::Invalid(faults) => invalid(&faults),
            ServiceError::Page { fault } => page(&fault),
            ServiceError::NotFound { kind, id } => status(
                Code::NotFound,
                "RESOURCE_NOT_FOUND",
                message,
                &format!("list the {}s to see which there are", kind.noun()),
                &[("id", &id), ("resource_type", kind.noun())],
                Vec::new(),
            ),
            ServiceError::Exists { kind, id, .. } => status(
                Code::AlreadyExists,
                "RESOURCE_ALREADY_EXISTS",
                message,
                &taken(kind),
                &[("id", &id), ("resource_type", kind.noun())],
                Vec::new(),
            ),
            ServiceError::InUse { kind, id, .. } => status(
                Code::FailedPrecondition,
                "RESOURCE_IN_USE",
                message,
                "delete those connections first, or disable the resource instead",
                &[("id", &id), ("resource_type", kind.noun())],
                Vec::new(),
            ),
            ServiceError::Disabled { kind, id } => status(
                Code::FailedPrecondition,
                "RESOURCE_DISABLED",
                message,
                "a disabled connection makes no events that could be held; enable it first",
                &[("id", &id), ("resource_type", kind.noun())],
                Vec::new(),
            ),
            ServiceError::Changed { kind, id } => status(
                Code::Aborted,
                "RESOURCE_CHANGED",
                message,
                "read it again, and make the change on top of what it is now",
                &[("id", &id), ("resource_type", kind.noun())],
                Vec::new(),
            ),
            ServiceError::Missing { kind } => status(
                Code::Aborted,
                "RESOURCE_CHANGED",
                message,
                "leave the etag out to create it, or look whether it was renamed or deleted",
                &[("resource_type", kind.noun())],
                Vec::new(),
            ),
            ServiceError::UnderWay => unavailable(
                "APPLY_UNDER_WAY",
                message,
                "try again when it is over: a team has one apply at a time",
            ),
            ServiceError::RequestIdReused { id } => status(
                Code::AlreadyExists,
                "REQUEST_ID_REUSED",
                message,
                "take a new request id for every new call; the old one is free after a day",
                &[("request_id", &shown(&id))],
                Vec::new(),
            ),
            ServiceError::LastKey { id } => status(
                Code::FailedPrecondition,
                "LAST_API_KEY",
                message,
                "make another key first, one with the scope `keys:admin`, then change this one with it",
                &[("id", &id), ("resource_type", ResourceKind::ApiKey.noun())],
                Vec::new(),
            ),
            ServiceError::KeyRevoked { .. } => refused(
                Code::FailedPrecondition,
                "API_KEY_REVOKED",
                message,
                "make a new key: a revoked one stays revoked",
            ),
            ServiceError::BeyondOwnScopes { .. } => refused(
                Code::PermissionDenied,
                "SCOPE_MISSING",
                message,
                "call with a key that has all the scopes of the one to change",
            ),
            ServiceError::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for Status {
    fn from(error: StoreError) -> Self {
        if let StoreError::Value(_) = error {
            tracing::debug!(error = %error, "the database refused a value");
            return refused(
                Code::InvalidArgument,
                "VALIDATION_FAILED",
                "a value of the call can neither be stored nor looked up",
                "send no control characters, and numbers within their range",
            );
        }
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        tracing::error!(error = %error, cause, "the database failed a call");
        match error {
            StoreError::Busy => unavailable(
                "TOO_MANY_CHANGES",
                "too many changes of the configuration wait for their turn",
                "try again later, with fewer changes at once or with one apply of them all",
            ),
            StoreError::Unavailable(_) | StoreError::Unreachable(_) => unavailable(
                "DATABASE_UNAVAILABLE",
                "the database did not answer",
                "try again; if it lasts, look at the database and the control plane's log",
            ),
            StoreError::Value(_)
            | StoreError::Newer(_)
            | StoreError::KeyMissing(_)
            | StoreError::Broken { .. } => refused(
                Code::Internal,
                "INTERNAL",
                "a stored value cannot be read",
                "the control plane's log names the row; was the secret key changed?",
            ),
        }
    }
}

/// What a caller gave as an id, as far as it helps to see it again.
pub(super) fn shown(id: &str) -> String {
    let printable = id.chars().filter(|letter| !letter.is_control());
    printable.take(64).collect()
}

/// INVALID_ARGUMENT for a parameter of a list.
#[must_use]
pub fn page(fault: &InvalidPage) -> Status {
    invalid(&[Violation::new(fault.field(), fault.to_string())])
}

fn taken(kind: ResourceKind) -> String {
    format!(
        "choose another name, or use the upsert call to change the existing {}",
        kind.noun()
    )
}

fn status(
    code: Code,
    reason: &str,
    message: impl Into<String>,
    hint: &str,
    facts: &[(&str, &str)],
    fields: Vec<tonic_types::FieldViolation>,
) -> Status {
    let mut details = ErrorDetails::new();
    details
        .set_error_info(reason, DOMAIN, metadata(hint, facts))
        .add_help_link(hint, HELP);
    if !fields.is_empty() {
        details.set_bad_request(fields);
    }
    Status::with_error_details(code, message, details)
}

fn metadata(hint: &str, facts: &[(&str, &str)]) -> HashMap<String, String> {
    let mut metadata: HashMap<String, String> = facts
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    metadata.insert("hint".to_owned(), hint.to_owned());
    metadata
}
