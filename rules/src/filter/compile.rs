//! From JSON to conditions, with every limit and fault found here and not later.

use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value};

use super::InvalidRule;

/// Each level costs three of the hundred that the wire format's decoder allows.
const MAX_DEPTH: usize = 28;
const MAX_NODES: usize = 512;
const MAX_REGEX_LEN: usize = 1_024;
const MAX_REGEX_BYTES: usize = 256 * 1_024;

const OPERATORS: [&str; 17] = [
    "eq",
    "ne",
    "neq",
    "gt",
    "gte",
    "lt",
    "lte",
    "in",
    "nin",
    "contains",
    "starts_with",
    "ends_with",
    "regex",
    "exists",
    "not",
    "or",
    "and",
];

/// A compiled condition on one value.
#[derive(Clone, Debug)]
pub(crate) enum Condition {
    Equals(Value),
    Fields(Vec<(String, Condition)>),
    Not(Box<Condition>),
    AllOf(Vec<Condition>),
    AnyOf(Vec<Condition>),
    In(Vec<Value>),
    Contains(Value),
    StartsWith(String),
    EndsWith(String),
    Matches(Regex),
    Compare(Order, Value),
    Exists(bool),
}

/// Which orderings of (value, operand) pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

#[derive(Default)]
pub(super) struct Compiler {
    nodes: usize,
    lower_case_fields: bool,
}

impl Compiler {
    pub(super) fn part(
        &mut self,
        name: &str,
        value: Option<&Value>,
        lower_case_fields: bool,
    ) -> Result<Option<Condition>, InvalidRule> {
        let Some(value) = value else { return Ok(None) };
        if value.is_null() {
            return Err(InvalidRule::new(
                name,
                "is null; leave it out or give a condition",
            ));
        }
        // Whatever fields a condition on headers names, they are header names.
        self.lower_case_fields = lower_case_fields;
        self.condition(name, value, 0).map(Some)
    }

    fn condition(
        &mut self,
        path: &str,
        value: &Value,
        depth: usize,
    ) -> Result<Condition, InvalidRule> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(InvalidRule::new(
                path,
                format!("makes the filter larger than {MAX_NODES} conditions"),
            ));
        }
        if depth > MAX_DEPTH {
            return Err(InvalidRule::new(
                path,
                format!("is nested deeper than {MAX_DEPTH} levels"),
            ));
        }
        match value {
            Value::Object(map) if map.is_empty() => Err(InvalidRule::new(
                path,
                "is an empty object, which says nothing",
            )),
            Value::Object(map) if is_operators(map) => {
                let all = map
                    .iter()
                    .map(|(key, operand)| self.operator(path, key, operand, depth))
                    .collect::<Result<Vec<_>, _>>()?;
                Ok(one_or_all(all))
            }
            Value::Object(map) => {
                let fields = map.iter().map(|(key, inner)| {
                    if key.starts_with('$') {
                        return Err(InvalidRule::new(
                            format!("{path}.{key}"),
                            "stands beside fields; an object is either operators or fields",
                        ));
                    }
                    let condition = self.condition(&format!("{path}.{key}"), inner, depth + 1)?;
                    let name = if self.lower_case_fields {
                        key.to_ascii_lowercase()
                    } else {
                        key.clone()
                    };
                    Ok((name, condition))
                });
                Ok(Condition::Fields(fields.collect::<Result<_, _>>()?))
            }
            plain => Ok(Condition::Equals(plain.clone())),
        }
    }

    fn operator(
        &mut self,
        path: &str,
        key: &str,
        operand: &Value,
        depth: usize,
    ) -> Result<Condition, InvalidRule> {
        let path = format!("{path}.{key}");
        let fault = |message: &str| InvalidRule::new(path.clone(), message);
        let order = |order, operand: &Value| match operand {
            Value::Number(_) | Value::String(_) => Ok(Condition::Compare(order, operand.clone())),
            _ => Err(fault("needs a number or a text to compare with")),
        };
        let text = || {
            operand
                .as_str()
                .map(str::to_owned)
                .ok_or_else(|| fault("needs a text"))
        };
        Ok(match key.trim_start_matches('$') {
            "eq" => Condition::Equals(operand.clone()),
            "ne" | "neq" => Condition::Not(Box::new(Condition::Equals(operand.clone()))),
            "gt" => order(Order::Greater, operand)?,
            "gte" => order(Order::GreaterOrEqual, operand)?,
            "lt" => order(Order::Less, operand)?,
            "lte" => order(Order::LessOrEqual, operand)?,
            "in" => Condition::In(self.values(&path, operand)?),
            "nin" => Condition::Not(Box::new(Condition::In(self.values(&path, operand)?))),
            "contains" => match operand {
                Value::Object(_) | Value::Array(_) => {
                    return Err(fault(
                        "needs a plain value: a part of a text or a member of a list",
                    ));
                }
                plain => Condition::Contains(plain.clone()),
            },
            "starts_with" => Condition::StartsWith(text()?),
            "ends_with" => Condition::EndsWith(text()?),
            "regex" => Condition::Matches(regex(&path, &text()?)?),
            "exists" => {
                let wanted = operand
                    .as_bool()
                    .ok_or_else(|| fault("needs true or false"))?;
                Condition::Exists(wanted)
            }
            "not" => Condition::Not(Box::new(self.condition(&path, operand, depth + 1)?)),
            "or" => Condition::AnyOf(self.branches(&path, operand, depth)?),
            "and" => Condition::AllOf(self.branches(&path, operand, depth)?),
            _ => {
                let known = OPERATORS.map(|name| format!("${name}")).join(", ");
                return Err(InvalidRule::new(
                    path,
                    format!("is no operator; known are {known}"),
                ));
            }
        })
    }

    fn values(&mut self, path: &str, operand: &Value) -> Result<Vec<Value>, InvalidRule> {
        let list = operand
            .as_array()
            .filter(|list| !list.is_empty())
            .ok_or_else(|| InvalidRule::new(path, "needs a list of values that is not empty"))?;
        self.nodes += list.len();
        if self.nodes > MAX_NODES {
            return Err(InvalidRule::new(
                path,
                format!("makes the filter larger than {MAX_NODES} conditions"),
            ));
        }
        Ok(list.clone())
    }

    fn branches(
        &mut self,
        path: &str,
        operand: &Value,
        depth: usize,
    ) -> Result<Vec<Condition>, InvalidRule> {
        let list = operand
            .as_array()
            .filter(|list| !list.is_empty())
            .ok_or_else(|| {
                InvalidRule::new(path, "needs a list of conditions that is not empty")
            })?;
        list.iter()
            .enumerate()
            .map(|(place, value)| self.condition(&format!("{path}[{place}]"), value, depth + 1))
            .collect()
    }
}

fn is_operators(map: &Map<String, Value>) -> bool {
    map.keys().all(|key| key.starts_with('$'))
        || map.keys().all(|key| OPERATORS.contains(&key.as_str()))
}

fn one_or_all(mut all: Vec<Condition>) -> Condition {
    if all.len() == 1 {
        all.remove(0)
    } else {
        Condition::AllOf(all)
    }
}

fn regex(path: &str, pattern: &str) -> Result<Regex, InvalidRule> {
    if pattern.len() > MAX_REGEX_LEN {
        return Err(InvalidRule::new(
            path,
            format!("is longer than {MAX_REGEX_LEN} bytes"),
        ));
    }
    RegexBuilder::new(pattern)
        .size_limit(MAX_REGEX_BYTES)
        .dfa_size_limit(MAX_REGEX_BYTES)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => InvalidRule::new(
                path,
                "compiles to too large a program; use a simpler pattern",
            ),
            _ => InvalidRule::new(
                path,
                "is no regular expression of the RE2 kind (no look-around, no back references)",
            ),
        })
}
