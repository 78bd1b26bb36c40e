//! `google.protobuf.Timestamp` as RFC 3339 text in UTC.

use prost_reflect::{DynamicMessage, MessageDescriptor, Value as Field};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::rest::fault::{Faults, Path};

pub(crate) const NAME: &str = "google.protobuf.Timestamp";

const EXPECTED: &str = "an RFC 3339 time such as `2026-01-31T12:00:00Z`";

pub(crate) fn read(
    descriptor: &MessageDescriptor,
    value: &Value,
    at: &Path<'_>,
    faults: &mut Faults,
) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    let Value::String(text) = value else {
        faults.expected(at, EXPECTED, value);
        return message;
    };
    let Ok(time) = OffsetDateTime::parse(text, &Rfc3339) else {
        faults.push(at, format!("must be {EXPECTED}"));
        return message;
    };
    let nanos = i32::try_from(time.nanosecond()).unwrap_or(0);
    message.set_field_by_name("seconds", Field::I64(time.unix_timestamp()));
    message.set_field_by_name("nanos", Field::I32(nanos));
    message
}

/// Null when the message holds no time that has a text form.
pub(crate) fn write(message: &DynamicMessage) -> Value {
    text(message).map_or(Value::Null, Value::String)
}

fn text(message: &DynamicMessage) -> Option<String> {
    let seconds = message.get_field_by_name("seconds")?.as_i64()?;
    let nanos = message.get_field_by_name("nanos")?.as_i32()?;
    OffsetDateTime::from_unix_timestamp(seconds)
        .ok()?
        .replace_nanosecond(u32::try_from(nanos).ok()?)
        .ok()?
        .format(&Rfc3339)
        .ok()
}
