//! What goes wrong between the control plane and its agents, as statuses.

use hookplane_proto::agent::v1::CommandError;
use tonic::{Code, Status};

use super::{refused, unavailable, unavailable_for};
use crate::domain::Agent;
use crate::fleet::{AskError, Ending};
use crate::store::agents::EnrolError;

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
