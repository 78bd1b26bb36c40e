//! Why a command has no answer, in the codes of gRPC.

use hookplane_proto::agent::v1::CommandError;

use crate::causes::chain;
use crate::store::{CancelError, RetryError, StoreError};

/// Code, message, and what to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    code: tonic::Code,
    message: String,
    hint: &'static str,
}

impl Fault {
    pub(super) fn invalid(message: impl Into<String>, hint: &'static str) -> Self {
        Self {
            code: tonic::Code::InvalidArgument,
            message: message.into(),
            hint,
        }
    }

    pub(super) fn not_found(noun: &str, id: &str) -> Self {
        Self {
            code: tonic::Code::NotFound,
            message: format!("there is no {noun} {id} here"),
            hint: "check the id; evidence is deleted when its retention ends",
        }
    }

    pub(super) fn message(self) -> String {
        self.message
    }

    /// Whether it is what was asked about that cannot be done, now or later.
    pub(super) const fn is_of_the_target(&self) -> bool {
        matches!(
            self.code,
            tonic::Code::InvalidArgument | tonic::Code::NotFound | tonic::Code::FailedPrecondition
        )
    }

    pub(super) fn unknown_command() -> Self {
        Self {
            code: tonic::Code::Unimplemented,
            message: "this release of the agent does not know the command".to_owned(),
            hint: "upgrade the agent",
        }
    }

    pub(super) fn busy() -> Self {
        Self::unavailable("the agent answers as many commands as it may")
    }

    pub(super) fn too_late() -> Self {
        Self::unavailable("the store did not answer within the deadline")
    }

    pub(super) fn too_large(bytes: usize) -> Self {
        Self {
            code: tonic::Code::ResourceExhausted,
            message: format!("the answer has {bytes} bytes, more than a message may have"),
            hint: "ask for a smaller page, or for its parts one by one",
        }
    }

    pub(super) fn unavailable(message: impl Into<String>) -> Self {
        Self {
            code: tonic::Code::Unavailable,
            message: message.into(),
            hint: "try again; a narrower time range is answered faster",
        }
    }

    pub(super) fn precondition(message: impl Into<String>, hint: &'static str) -> Self {
        Self {
            code: tonic::Code::FailedPrecondition,
            message: message.into(),
            hint,
        }
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Corrupt { .. } => {
                tracing::error!(error = %chain(&error), "the store holds a broken row");
                Self {
                    code: tonic::Code::Internal,
                    message: error.to_string(),
                    hint: "look at the agent's log",
                }
            }
            StoreError::TooLong => Self {
                code: tonic::Code::ResourceExhausted,
                message: error.to_string(),
                hint: "narrow the time range (from, to), or filter by source, connection or request",
            },
            StoreError::Busy | StoreError::Unavailable(_) | StoreError::Closed => {
                Self::unavailable(error.to_string())
            }
        }
    }
}

impl From<RetryError> for Fault {
    fn from(error: RetryError) -> Self {
        let message = error.to_string();
        match error {
            RetryError::NotFound => Self {
                code: tonic::Code::NotFound,
                message,
                hint: "check the id; evidence is deleted when its retention ends",
            },
            RetryError::Pending(_) => Self::precondition(
                message,
                "wait for its end; it is tried again by its connection's policy",
            ),
            RetryError::Ignored => {
                Self::precondition(message, "see ignored_reason; change the connection's rules")
            }
            RetryError::Store(error) => error.into(),
        }
    }
}

impl From<CancelError> for Fault {
    fn from(error: CancelError) -> Self {
        let message = error.to_string();
        match error {
            CancelError::NotFound => Self {
                code: tonic::Code::NotFound,
                message,
                hint: "check the id; evidence is deleted when its retention ends",
            },
            CancelError::Ended(_) => {
                Self::precondition(message, "only what is pending can be stopped")
            }
            CancelError::Store(error) => error.into(),
        }
    }
}

impl From<Fault> for CommandError {
    fn from(fault: Fault) -> Self {
        Self {
            code: fault.code.into(),
            message: fault.message,
            hint: fault.hint.to_owned(),
        }
    }
}
