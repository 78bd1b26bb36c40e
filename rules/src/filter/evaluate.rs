//! Whether a condition holds for a value; the place of the first failure otherwise.

use std::cmp::Ordering;

use serde_json::{Number, Value};

use super::compile::{Condition, Order};

impl Condition {
    /// `value` is `None` for a field that is not there.
    ///
    /// # Errors
    /// The dotted path, below this value, of the condition that failed first.
    pub(super) fn holds(&self, value: Option<&Value>) -> Result<(), String> {
        let verdict = match self {
            Self::Fields(fields) => {
                for (key, condition) in fields {
                    condition
                        .holds(value.and_then(|value| value.get(key)))
                        .map_err(|place| {
                            if place.is_empty() {
                                key.clone()
                            } else {
                                format!("{key}.{place}")
                            }
                        })?;
                }
                true
            }
            Self::AllOf(all) => {
                for condition in all {
                    condition.holds(value)?;
                }
                true
            }
            Self::AnyOf(any) => any.iter().any(|condition| condition.holds(value).is_ok()),
            Self::Not(condition) => condition.holds(value).is_err(),
            Self::Exists(wanted) => value.is_some() == *wanted,
            Self::Equals(wanted) => value.is_some_and(|value| equal_or_member(value, wanted)),
            Self::In(wanted) => value
                .is_some_and(|value| wanted.iter().any(|wanted| equal_or_member(value, wanted))),
            Self::Contains(wanted) => value.is_some_and(|value| contains(value, wanted)),
            Self::StartsWith(prefix) => any_text(value, |text| text.starts_with(prefix)),
            Self::EndsWith(suffix) => any_text(value, |text| text.ends_with(suffix)),
            Self::Matches(regex) => any_text(value, |text| regex.is_match(text)),
            Self::Compare(order, operand) => value
                .and_then(|value| compare(value, operand))
                .is_some_and(|ordering| match order {
                    Order::Greater => ordering.is_gt(),
                    Order::GreaterOrEqual => ordering.is_ge(),
                    Order::Less => ordering.is_lt(),
                    Order::LessOrEqual => ordering.is_le(),
                }),
        };
        if verdict { Ok(()) } else { Err(String::new()) }
    }
}

fn equal_or_member(value: &Value, wanted: &Value) -> bool {
    if equal(value, wanted) {
        return true;
    }
    !wanted.is_array()
        && value
            .as_array()
            .is_some_and(|list| list.iter().any(|member| equal(member, wanted)))
}

/// Like `==`, but 1 equals 1.0.
fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => {
            numbers(left, right) == Some(Ordering::Equal)
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .zip(right)
                    .all(|(left, right)| equal(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .all(|(key, value)| right.get(key).is_some_and(|other| equal(value, other)))
        }
        _ => left == right,
    }
}

fn contains(value: &Value, wanted: &Value) -> bool {
    match (value, wanted) {
        (Value::String(text), Value::String(part)) => text.contains(part.as_str()),
        (Value::Array(list), wanted) => list.iter().any(|member| equal(member, wanted)),
        _ => false,
    }
}

/// Texts, or a list of them such as a repeated header.
fn any_text(value: Option<&Value>, test: impl Fn(&str) -> bool) -> bool {
    match value {
        Some(Value::String(text)) => test(text),
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).any(test),
        _ => false,
    }
}

/// Numbers with numbers, texts with texts; anything else has no order.
fn compare(value: &Value, operand: &Value) -> Option<Ordering> {
    match (value, operand) {
        (Value::Number(left), Value::Number(right)) => numbers(left, right),
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        _ => None,
    }
}

/// Exact for integers of 64 bits; through floats only when one side is one.
fn numbers(left: &Number, right: &Number) -> Option<Ordering> {
    let integer = |number: &Number| {
        number
            .as_i64()
            .map(i128::from)
            .or_else(|| number.as_u64().map(i128::from))
    };
    match (integer(left), integer(right)) {
        (Some(left), Some(right)) => Some(left.cmp(&right)),
        _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
    }
}
