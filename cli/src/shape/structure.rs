//! JSON values as protobuf's `Value`, for filters.

use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};

/// The same value in protobuf's form. Numbers are doubles there.
pub(super) fn to_proto(json: &serde_json::Value) -> Value {
    let kind = match json {
        serde_json::Value::Null => Kind::NullValue(0),
        serde_json::Value::Bool(flag) => Kind::BoolValue(*flag),
        serde_json::Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or(f64::NAN)),
        serde_json::Value::String(text) => Kind::StringValue(text.clone()),
        serde_json::Value::Array(items) => Kind::ListValue(ListValue {
            values: items.iter().map(to_proto).collect(),
        }),
        serde_json::Value::Object(entries) => Kind::StructValue(Struct {
            fields: entries
                .iter()
                .map(|(key, value)| (key.clone(), to_proto(value)))
                .collect(),
        }),
    };
    Value { kind: Some(kind) }
}
