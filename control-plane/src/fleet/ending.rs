//! Why a stream with an agent ended.

use std::time::Duration;

use thiserror::Error;

use crate::store::StoreError;

/// The reason, told to the other side when it can still hear it.
#[derive(Debug, Error)]
pub enum Ending {
    /// The other side closed it, or its connection broke.
    #[error("the other side left")]
    Gone,
    #[error("the stream has lasted long enough")]
    Aged,
    #[error("too many agents are being sent everything at once")]
    Crowded,
    #[error("the control plane is shutting down")]
    Shutdown,
    #[error("another stream of this agent took over")]
    Replaced,
    #[error("nothing was heard for too long")]
    Silent,
    #[error("messages were not taken or not acknowledged in time")]
    Slow,
    #[error("the agent does not hold what it acknowledged")]
    Drift,
    #[error("{0}")]
    Protocol(&'static str),
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An agent refused what the stream is made of.
    #[error("{message}")]
    Refused {
        code: i32,
        message: String,
        hint: String,
    },
}

impl Ending {
    /// How long the other side is asked to wait before it comes back.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Aged => Some(Duration::ZERO),
            Self::Shutdown => Some(Duration::from_secs(1)),
            Self::Crowded => Some(Duration::from_secs(3)),
            Self::Store(_) => Some(Duration::from_secs(5)),
            _ => None,
        }
    }
}
