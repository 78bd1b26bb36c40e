//! Filters: conditions on headers, body, query and path; all parts given must match.
//!
//! A condition mirrors the value it looks at. A plain value means equality; on a
//! list it also matches when the list contains it. An object looks at fields,
//! unless it is made of operators: every key starts with `$`, or every key is
//! the name of one (an object that mixes them looks at fields). Operators of
//! one object all have to hold. A field that is not there equals nothing.

mod compile;
mod evaluate;
mod mark;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use crate::cel::{CelFault, Program, Val};
use crate::{Input, Looks};
use compile::Condition;

/// Longest text of a filter as JSON, in bytes. Configuration travels to agents in
/// messages with a bound, and a number can grow sixfold on the way.
pub const MAX_FILTER_BYTES: usize = 32 * 1_024;

/// What a filter rule says, as JSON.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilterSpec {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<Value>,
    /// A text or operators on one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<Value>,
    /// An expression in the Common Expression Language that is true for what passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cel: Option<String>,
}

/// A compiled filter.
#[derive(Clone, Debug)]
pub struct Filter {
    headers: Option<Condition>,
    body: Option<Condition>,
    query: Option<Condition>,
    path: Option<Condition>,
    cel: Option<Program>,
}

/// Why a rule cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{path}` {message}")]
pub struct InvalidRule {
    /// Where in the rule, `body.type.$in` for example.
    pub path: String,
    /// The fault and what would be right.
    pub message: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Match,
    NoMatch {
        /// The condition that failed first, `body.type`; never a value of the payload.
        detail: String,
    },
    /// An expression has neither answer.
    Undecidable {
        /// Why, without a value of the payload.
        detail: String,
    },
}

impl InvalidRule {
    pub(crate) fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            message: message.into(),
        }
    }
}

impl Filter {
    /// Checks and compiles a filter.
    ///
    /// # Errors
    /// [`InvalidRule`] with the place of the first fault.
    pub fn compile(spec: &FilterSpec) -> Result<Self, InvalidRule> {
        let FilterSpec {
            headers,
            body,
            query,
            path,
            cel,
        } = spec;
        let none = headers.is_none() && body.is_none() && query.is_none() && path.is_none();
        if none && cel.is_none() {
            return Err(InvalidRule::new(
                "filter",
                "has no condition; give at least one of headers, body, query, path and cel",
            ));
        }
        let length = serde_json::to_vec(spec).map_or(usize::MAX, |text| text.len());
        if length > MAX_FILTER_BYTES {
            return Err(InvalidRule::new(
                "filter",
                format!("has {length} bytes as JSON; {MAX_FILTER_BYTES} are possible"),
            ));
        }
        let mut compiler = compile::Compiler::default();
        Ok(Self {
            headers: compiler.part("headers", headers.as_ref(), true)?,
            body: compiler.part("body", body.as_ref(), false)?,
            query: compiler.part("query", query.as_ref(), false)?,
            path: compiler.part("path", path.as_ref(), false)?,
            cel: cel
                .as_deref()
                .map(|text| Program::compile("cel", text))
                .transpose()?,
        })
    }

    /// Which parts it looks at.
    #[must_use]
    pub fn looks(&self) -> Looks {
        let cel = self.expression_looks();
        Looks {
            headers: self.headers.is_some() || cel.headers,
            body: self.body.is_some() || cel.body,
            query: self.query.is_some() || cel.query,
        }
    }

    /// Which parts its expression looks at.
    pub(crate) fn expression_looks(&self) -> Looks {
        self.cel
            .as_ref()
            .map_or_else(Looks::default, Program::looks)
    }

    pub(crate) fn body(&self) -> Option<&Condition> {
        self.body.as_ref()
    }

    /// Looks at one request.
    #[must_use]
    pub fn evaluate(&self, input: &Input<'_>) -> Verdict {
        let path = self
            .path
            .is_some()
            .then(|| Value::String(input.path.to_owned()));
        let parts = [
            ("headers", &self.headers, Some(input.headers)),
            ("query", &self.query, Some(input.query)),
            ("path", &self.path, path.as_ref()),
            ("body", &self.body, input.body),
        ];
        for (name, condition, value) in parts {
            let Some(condition) = condition else { continue };
            if name == "body" && value.is_none() {
                return Verdict::NoMatch {
                    detail: "body: is not JSON".to_owned(),
                };
            }
            if let Err(place) = condition.holds(value) {
                let detail = if place.is_empty() {
                    name.to_owned()
                } else {
                    format!("{name}.{place}")
                };
                return Verdict::NoMatch { detail };
            }
        }
        match &self.cel {
            None => Verdict::Match,
            Some(program) => by_expression(program, input),
        }
    }
}

/// What is not there matches nothing, as in conditions; any other fault is nobody's answer.
fn by_expression(program: &Program, input: &Input<'_>) -> Verdict {
    let detail = match program.evaluate(input) {
        Ok(Val::Bool(true)) => return Verdict::Match,
        Ok(Val::Bool(false)) => "cel".to_owned(),
        Err(CelFault::Missing(what)) => format!("cel: {what}"),
        Ok(_) => {
            let detail = "cel: gives neither true nor false".to_owned();
            return Verdict::Undecidable { detail };
        }
        Err(fault) => {
            let detail = format!("cel: {fault}");
            return Verdict::Undecidable { detail };
        }
    };
    Verdict::NoMatch { detail }
}

#[cfg(test)]
mod tests;
