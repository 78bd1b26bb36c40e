//! Why a command failed, in the one form people and scripts see.
//!
//! Owns code, message, detail, hint and exit code. Refuses to know how they are
//! printed. Every error of a library is translated here, once.

use std::io;
use std::path::Path;

use serde_json::{Value, json};

/// A command that did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) detail: Option<Box<str>>,
    /// What to do next.
    pub(crate) hint: Option<Box<str>>,
    /// Fields at fault, each with what would be right.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) exit: u8,
}

impl Failure {
    /// The work failed: exit code 1.
    pub(crate) fn new(code: &str, message: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            message: message.into(),
            detail: None,
            hint: None,
            fields: Vec::new(),
            exit: 1,
        }
    }

    /// The command was not given right: exit code 2.
    pub(crate) fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        let mut failure = Self::new("USAGE", message).hint(hint);
        failure.exit = 2;
        failure
    }

    /// A file could not be read or written.
    pub(crate) fn file(path: &Path, error: &io::Error) -> Self {
        Self::new("FILE", format!("{}: {error}", path.display()))
    }

    /// Whoever read our output has gone; there is nobody left to tell.
    pub(crate) fn output(error: &io::Error) -> Self {
        let mut failure = Self::new("OUTPUT", format!("cannot write the answer: {error}"));
        if error.kind() == io::ErrorKind::BrokenPipe {
            failure.code = Self::CLOSED.to_owned();
            failure.exit = 0;
        }
        failure
    }

    /// Code of a failure that is not worth a word.
    pub(crate) const CLOSED: &str = "OUTPUT_CLOSED";

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into().into());
        self
    }

    pub(crate) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into().into());
        self
    }

    pub(crate) fn to_json(&self) -> Value {
        let fields: Vec<Value> = self
            .fields
            .iter()
            .map(|(field, message)| json!({"field": field, "message": message}))
            .collect();
        json!({
            "error": self.message,
            "code": self.code,
            "message": self.message,
            "detail": self.detail,
            "hint": self.hint,
            "fields": fields,
        })
    }
}

impl From<hookplane_client::Error> for Failure {
    fn from(error: hookplane_client::Error) -> Self {
        let hint = error.hint.or_else(|| default_hint(&error.code));
        let message = match error.message.as_str() {
            "" => format!("the control plane answered {}", error.code),
            told => told.to_owned(),
        };
        Self {
            code: error.code,
            message,
            detail: error.detail.map(Into::into),
            hint: hint.map(Into::into),
            fields: error
                .fields
                .into_iter()
                .map(|field| (field.field, field.message))
                .collect(),
            exit: 1,
        }
    }
}

impl From<tonic::Status> for Failure {
    fn from(status: tonic::Status) -> Self {
        hookplane_client::Error::from(status).into()
    }
}

fn default_hint(code: &str) -> Option<String> {
    let hint = match code {
        "UNAUTHENTICATED" => {
            "check HOOKPLANE_API_KEY, or make a new key with `hookplane keys create`"
        }
        "UNIMPLEMENTED" => "is the control plane older than this command? both tell --version",
        "DEADLINE_EXCEEDED" => "try again; `hookplane status` shows which agents answer",
        "UNAVAILABLE" => "try again; `hookplane status` shows which agents are connected",
        _ => return None,
    };
    Some(hint.to_owned())
}
