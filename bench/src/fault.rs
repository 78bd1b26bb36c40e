//! Why the bench could not go on. A slow or unsafe agent is a result and no fault.

use std::io;
use std::path::Path;

use thiserror::Error;

#[derive(Debug, Error)]
pub(crate) enum Fault {
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
    #[error("{what} is not what was expected: {source}")]
    Json {
        what: String,
        source: serde_json::Error,
    },
    #[error("the {role} process: {detail}")]
    Role { role: &'static str, detail: String },
    #[error("the load cannot be made: {0}")]
    Load(String),
    #[error("the plot {name} cannot be drawn: {detail}")]
    Plot { name: String, detail: String },
    #[error("{0}")]
    Refused(String),
}

impl Fault {
    pub(crate) fn io(what: impl Into<String>, source: io::Error) -> Self {
        Self::Io {
            what: what.into(),
            source,
        }
    }

    pub(crate) fn file(path: &Path, source: io::Error) -> Self {
        Self::io(path.display().to_string(), source)
    }

    pub(crate) fn json(what: impl Into<String>, source: serde_json::Error) -> Self {
        Self::Json {
            what: what.into(),
            source,
        }
    }

    pub(crate) fn role(role: &'static str, detail: impl Into<String>) -> Self {
        Self::Role {
            role,
            detail: detail.into(),
        }
    }
}
