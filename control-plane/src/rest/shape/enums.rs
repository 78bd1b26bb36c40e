//! Enum names without their prefix; in lower case where FastHook writes them so.

use prost_reflect::EnumDescriptor;
use serde_json::Value;

use crate::rest::fault::{Faults, Path};

/// Shown in lower case. All others are shown in upper case.
const LOWER_CASE: [&str; 9] = [
    "hookplane.v1.SourceStatus",
    "hookplane.v1.RequestStatus",
    "hookplane.v1.ApiKeyStatus",
    "hookplane.v1.HandlerKeyStatus",
    "hookplane.v1.HmacAlgorithm",
    "hookplane.v1.SignatureEncoding",
    "hookplane.v1.RetryStrategy",
    "hookplane.v1.RateLimitPeriod",
    "hookplane.v1.RetryKind",
];

/// Short or full name, in any case.
pub(crate) fn read(
    descriptor: &EnumDescriptor,
    value: &Value,
    at: &Path<'_>,
    faults: &mut Faults,
) -> Option<i32> {
    let found = value.as_str().and_then(|name| number(descriptor, name));
    if found.is_none() {
        let what = format!("must be one of {}", names(descriptor).join(", "));
        faults.push(at, what);
    }
    found
}

/// Null when nothing was specified.
pub(crate) fn write(descriptor: &EnumDescriptor, number: i32) -> Value {
    match descriptor.get_value(number) {
        Some(_) if number == 0 => Value::Null,
        Some(value) => Value::String(short(descriptor, value.name())),
        None => Value::from(number),
    }
}

fn number(descriptor: &EnumDescriptor, name: &str) -> Option<i32> {
    let prefix = prefix(descriptor.name());
    descriptor
        .values()
        .filter(|value| value.number() != 0)
        .find(|value| {
            let full = value.name();
            let short = full.strip_prefix(&prefix).unwrap_or(full);
            full.eq_ignore_ascii_case(name) || short.eq_ignore_ascii_case(name)
        })
        .map(|value| value.number())
}

/// As callers see them.
pub(crate) fn names(descriptor: &EnumDescriptor) -> Vec<String> {
    descriptor
        .values()
        .filter(|value| value.number() != 0)
        .map(|value| short(descriptor, value.name()))
        .collect()
}

fn short(descriptor: &EnumDescriptor, full: &str) -> String {
    let prefix = prefix(descriptor.name());
    let short = full.strip_prefix(&prefix).unwrap_or(full);
    if LOWER_CASE.contains(&descriptor.full_name()) {
        short.to_ascii_lowercase()
    } else {
        short.to_owned()
    }
}

/// `SourceType` → `SOURCE_TYPE_`.
fn prefix(name: &str) -> String {
    let mut prefix = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !prefix.is_empty() {
            prefix.push('_');
        }
        prefix.push(letter.to_ascii_uppercase());
    }
    prefix.push('_');
    prefix
}
