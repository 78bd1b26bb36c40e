//! gRPC codes: their names, their HTTP statuses, and what to do about each.

use http::StatusCode;
use tonic::Code;

struct Row {
    name: &'static str,
    http: u16,
    hint: &'static str,
}

const fn row(code: Code) -> Row {
    let (name, http, hint) = match code {
        Code::Ok => ("OK", 200, ""),
        Code::Cancelled => (
            "CANCELLED",
            499,
            "Send the call again if it is still wanted.",
        ),
        Code::Unknown => ("UNKNOWN", 500, OURS),
        Code::InvalidArgument => (
            "INVALID_ARGUMENT",
            400,
            "Correct what `message` and `fields` name, then send the call again.",
        ),
        Code::DeadlineExceeded => (
            "DEADLINE_EXCEEDED",
            504,
            "Try again; a narrower time range or a smaller `limit` answers sooner.",
        ),
        Code::NotFound => (
            "NOT_FOUND",
            404,
            "Check the id; the list of the resource shows those that exist.",
        ),
        Code::AlreadyExists => (
            "ALREADY_EXISTS",
            409,
            "Choose another name, or change the existing one: `data.id` names it, PUT replaces it.",
        ),
        Code::PermissionDenied => (
            "PERMISSION_DENIED",
            403,
            "Use an API key that may make this call.",
        ),
        Code::ResourceExhausted => (
            "RESOURCE_EXHAUSTED",
            429,
            "Wait as long as `Retry-After` says, then send fewer calls at once.",
        ),
        Code::FailedPrecondition => (
            "FAILED_PRECONDITION",
            409,
            "Change what `message` names first, then send the call again.",
        ),
        Code::Aborted => (
            "ABORTED",
            412,
            "Somebody else changed it meanwhile: read it again, then repeat the change.",
        ),
        Code::OutOfRange => ("OUT_OF_RANGE", 400, "Ask for less, or within the range."),
        Code::Unimplemented => (
            "UNIMPLEMENTED",
            501,
            "This server cannot do that; check its version.",
        ),
        Code::Internal => ("INTERNAL", 500, OURS),
        Code::Unavailable => ("UNAVAILABLE", 503, "Try again in a few seconds."),
        Code::DataLoss => ("DATA_LOSS", 500, OURS),
        Code::Unauthenticated => (
            "UNAUTHENTICATED",
            401,
            "Send `Authorization: Bearer <API key>` with a key that is not revoked.",
        ),
    };
    Row { name, http, hint }
}

const OURS: &str = "Try again; if it stays, the log of the control plane tells the cause.";

pub(crate) const fn name(code: Code) -> &'static str {
    row(code).name
}

pub(crate) const fn hint(code: Code) -> &'static str {
    row(code).hint
}

pub(crate) fn http(code: Code) -> StatusCode {
    StatusCode::from_u16(row(code).http).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// The `code` of an answer when the service gave no reason of its own.
pub(crate) const fn specific(code: Code) -> &'static str {
    match code {
        // As FastHook's clients know it.
        Code::AlreadyExists => "RESOURCE_ALREADY_EXISTS",
        code => name(code),
    }
}

/// Faults of the server, whose texts are not for callers.
pub(crate) const fn is_ours(code: Code) -> bool {
    matches!(
        code,
        Code::Ok | Code::Unknown | Code::Internal | Code::DataLoss
    )
}
