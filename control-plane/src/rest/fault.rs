//! Faults of a call's input: which field, and what would be right there.
//!
//! Owns the path of a field as the caller wrote it and the bounded list of
//! faults. Refuses to know HTTP and gRPC.
//!
//! Invariant: a fault carries the field's name and an expectation, never the
//! value, because the value may be a secret.

use std::fmt;

use serde_json::Value;

/// More than these help nobody.
const MAX_FAULTS: usize = 16;
/// Names in messages are cut here: the caller chose them.
const MAX_NAME: usize = 64;

/// One field and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FieldFault {
    /// As the caller wrote it: `config.auth.secret`, `rules[0].count`; `body` for all of it.
    pub(crate) field: String,
    pub(crate) message: String,
}

/// What was found wrong so far.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<FieldFault>);

impl Faults {
    pub(crate) fn push(&mut self, at: &Path<'_>, message: impl Into<String>) {
        self.push_named(at.to_string(), message);
    }

    pub(crate) fn push_named(&mut self, field: impl Into<String>, message: impl Into<String>) {
        if !self.is_full() {
            self.0.push(FieldFault {
                field: field.into(),
                message: message.into(),
            });
        }
    }

    /// Whether more of them would help nobody: then the rest needs no reading.
    pub(crate) fn is_full(&self) -> bool {
        self.0.len() >= MAX_FAULTS
    }

    /// Says which kind of value was expected instead of this one.
    pub(crate) fn expected(&mut self, at: &Path<'_>, what: &str, found: &Value) {
        self.push(at, format!("must be {what}, not {}", kind_of(found)));
    }

    pub(crate) fn into_vec(self) -> Vec<FieldFault> {
        self.0
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Where in the input something stands; costs nothing until it is printed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Step<'a> {
    Whole,
    Field(&'a str),
    Index(usize),
}

impl<'a> Path<'a> {
    /// The whole input.
    pub(crate) const ROOT: Path<'static> = Path {
        parent: None,
        step: Step::Whole,
    };

    pub(crate) const fn field(&'a self, name: &'a str) -> Self {
        Self {
            parent: Some(self),
            step: Step::Field(name),
        }
    }

    pub(crate) const fn index(&'a self, index: usize) -> Self {
        Self {
            parent: Some(self),
            step: Step::Index(index),
        }
    }

    fn write(&self, into: &mut String) {
        if let Some(parent) = self.parent {
            parent.write(into);
        }
        match self.step {
            Step::Whole => {}
            Step::Field(name) => {
                if !into.is_empty() {
                    into.push('.');
                }
                into.push_str(cut(name));
            }
            Step::Index(index) => into.push_str(&format!("[{index}]")),
        }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.write(&mut text);
        f.write_str(if text.is_empty() { "body" } else { &text })
    }
}

fn cut(name: &str) -> &str {
    let end = name
        .char_indices()
        .map(|(place, _)| place)
        .nth(MAX_NAME)
        .unwrap_or(name.len());
    &name[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_as_the_caller_wrote_it() {
        let root = Path::ROOT;
        let rules = root.field("rules");
        let rule = rules.index(2);
        assert_eq!(root.to_string(), "body");
        assert_eq!(rule.field("count").to_string(), "rules[2].count");
    }

    #[test]
    fn faults_and_names_are_bounded() {
        let mut faults = Faults::default();
        let name = "ä".repeat(500);
        for _ in 0..100 {
            faults.push(&Path::ROOT.field(&name), "is wrong");
        }
        let list = faults.into_vec();
        assert_eq!(list.len(), MAX_FAULTS);
        assert_eq!(list[0].field.chars().count(), MAX_NAME);
    }
}
