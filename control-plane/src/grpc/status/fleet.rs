//! What goes wrong between the control plane and its agents, as statuses.

use std::time::Duration;

use hookplane_proto::agent::v1::CommandError;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::{DOMAIN, metadata, refused, unavailable, unavailable_for};
use crate::domain::Agent;
use crate::fleet::{AskError, Ending};
use crate::store::agents::{EnrolError, TokenFault};

/// As long as agents let themselves be asked to wait.
const AFTER_REVOCATION: Duration = Duration::from_secs(60);
const RECONNECT: &str = "open the stream again after a short, random wait";

impl From<Ending> for Status {
    fn from(ending: Ending) -> Self {
        let message = ending.to_string();
        let after = ending.retry_after().unwrap_or_default();
        match ending {
            Ending::Gone => Self::cancelled(message),
            Ending::Shutdown => unavailable_for("SHUTTING_DOWN", message, RECONNECT, after),
            Ending::Aged => unavailable_for("STREAM_AGED", message, RECONNECT, after),
            Ending::Crowded => unavailable_for("TOO_MANY_AGENTS", message, RECONNECT, after),
            Ending::Replaced => refused(
                Code::Aborted,
                "STREAM_REPLACED",
                message,
                "one agent has one stream of each kind; do two processes share a data folder?",
            ),
            Ending::Silent => refused(Code::DeadlineExceeded, "SILENT", message, RECONNECT),
            Ending::Slow => refused(Code::DeadlineExceeded, "TOO_SLOW", message, RECONNECT),
            Ending::Drift => refused(
                Code::Aborted,
                "CONFIGURATION_DRIFT",
                message,
                "open the stream again; a snapshot follows",
            ),
            Ending::Protocol(_) => refused(
                Code::InvalidArgument,
                "PROTOCOL_VIOLATION",
                message,
                "agent and control plane do not fit together; upgrade the older one",
            ),
            Ending::Store(error) => error.into(),
            Ending::Refused {
                code,
                message,
                hint,
            } => of_agent(&CommandError {
                code,
                message,
                hint,
            }),
        }
    }
}

impl From<EnrolError> for Status {
    fn from(error: EnrolError) -> Self {
        let message = error.to_string();
        match error {
            EnrolError::NameTaken => refused(
                Code::AlreadyExists,
                "AGENT_NAME_TAKEN",
                message,
                "give the agent another name, or start it with the data folder it had",
            ),
            EnrolError::CredentialTaken { .. } => refused(
                Code::AlreadyExists,
                "CREDENTIAL_TAKEN",
                message,
                "start the agent with that name and pool, or with a data folder of its own",
            ),
            EnrolError::Revoked { .. } => agent_revoked(),
            EnrolError::Token(fault) => {
                let (code, reason) = match fault {
                    TokenFault::Unknown => (Code::Unauthenticated, "AGENT_TOKEN_UNKNOWN"),
                    TokenFault::Used => (Code::Unauthenticated, "AGENT_TOKEN_USED"),
                    TokenFault::Revoked => (Code::Unauthenticated, "AGENT_TOKEN_REVOKED"),
                    TokenFault::Expired => (Code::Unauthenticated, "AGENT_TOKEN_EXPIRED"),
                    TokenFault::Pool(_) => (Code::FailedPrecondition, "AGENT_TOKEN_OTHER_POOL"),
                };
                let hint = match fault {
                    TokenFault::Pool(_) => {
                        "start the agent in that pool, or make a token for its own one"
                    }
                    _ => {
                        "make a new token with `hookplane agents tokens create`: each is for one agent"
                    }
                };
                refused(code, reason, message, hint)
            }
            EnrolError::NoStoreLeft => refused(
                Code::ResourceExhausted,
                "NO_STORE_LEFT",
                message,
                "this installation cannot have more agents",
            ),
            EnrolError::Store(error) => error.into(),
        }
    }
}

/// PERMISSION_DENIED, so that the agent neither enrols again nor comes back soon.
pub(crate) fn agent_revoked() -> Status {
    let message = "the agent was revoked; as a new agent it needs a new data folder";
    let mut details = ErrorDetails::new();
    let hint = "give it a new data folder and a new enrolment token if the host shall come back";
    details
        .set_error_info("AGENT_REVOKED", DOMAIN, metadata(hint, &[]))
        .set_retry_info(Some(AFTER_REVOCATION));
    Status::with_error_details(Code::PermissionDenied, message, details)
}

/// An agent did not answer a question that only it can answer.
pub(in crate::grpc) fn unanswered(agent: &Agent, error: AskError) -> Status {
    let name = &agent.name;
    let message = format!("the agent `{name}` holds it: {error}");
    match error {
        AskError::Refused(error) => of_agent(&error),
        AskError::Away => unavailable(
            "AGENT_AWAY",
            message,
            &format!(
                "see that the agent `{name}` runs and reaches the control plane, then try again"
            ),
        ),
        AskError::Busy => unavailable(
            "AGENT_BUSY",
            message,
            &format!("the agent `{name}` has more questions than it can answer; try again"),
        ),
        AskError::Late(_) | AskError::Lost => unavailable(
            "AGENT_SILENT",
            message,
            &format!(
                "try again; if it was an order, look first whether the agent `{name}` carried it out"
            ),
        ),
        AskError::Unable(_) => refused(
            Code::FailedPrecondition,
            "UNSUPPORTED_BY_AGENT",
            message,
            &format!("upgrade the agent `{name}` to the control plane's version"),
        ),
        AskError::Mismatch => refused(
            Code::Internal,
            "AGENT_MISMATCH",
            message,
            &format!("upgrade the agent `{name}` to the control plane's version"),
        ),
    }
}

/// An error that an agent gave, with its own hint.
pub(in crate::grpc) fn of_agent(error: &CommandError) -> Status {
    let (code, reason) = match Code::from(error.code) {
        Code::InvalidArgument => (Code::InvalidArgument, "VALIDATION_FAILED"),
        Code::NotFound => (Code::NotFound, "RESOURCE_NOT_FOUND"),
        Code::FailedPrecondition => (Code::FailedPrecondition, "PRECONDITION_FAILED"),
        Code::ResourceExhausted => (Code::ResourceExhausted, "AGENT_BUSY"),
        Code::Unimplemented => (Code::Unimplemented, "UNSUPPORTED_BY_AGENT"),
        Code::DeadlineExceeded => (Code::DeadlineExceeded, "AGENT_SILENT"),
        Code::Unavailable => return unavailable("AGENT_UNAVAILABLE", &error.message, &error.hint),
        _ => (Code::Internal, "AGENT_FAILED"),
    };
    refused(code, reason, &error.message, &error.hint)
}
