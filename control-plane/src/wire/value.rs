//! `google.protobuf.Value` and JSON. The wire knows one kind of number, a double:
//! whole ones come back as integers while they are exact.

use prost_types::value::Kind;
use prost_types::{ListValue, Struct};
use serde_json::{Map, Number, Value};

const EXACT: f64 = 9_007_199_254_740_992.0;

pub(super) fn json(value: prost_types::Value) -> Value {
    match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(truth)) => Value::Bool(truth),
        Some(Kind::StringValue(text)) => Value::String(text),
        Some(Kind::NumberValue(number)) => self::number(number),
        Some(Kind::ListValue(list)) => Value::Array(list.values.into_iter().map(json).collect()),
        Some(Kind::StructValue(object)) => Value::Object(
            object
                .fields
                .into_iter()
                .map(|(name, value)| (name, json(value)))
                .collect::<Map<_, _>>(),
        ),
    }
}

pub(super) fn wire(value: Value) -> prost_types::Value {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(truth) => Kind::BoolValue(truth),
        Value::String(text) => Kind::StringValue(text),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or(f64::NAN)),
        Value::Array(values) => Kind::ListValue(ListValue {
            values: values.into_iter().map(wire).collect(),
        }),
        Value::Object(fields) => Kind::StructValue(Struct {
            fields: fields
                .into_iter()
                .map(|(name, value)| (name, wire(value)))
                .collect(),
        }),
    };
    prost_types::Value { kind: Some(kind) }
}

fn number(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() <= EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53")]
        return Value::Number(Number::from(number as i64));
    }
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn conditions_survive_the_wire() {
        let condition =
            json!({"type": {"$in": ["a", "b"]}, "n": 3, "x": 1.5, "no": null, "yes": true});
        assert_eq!(super::json(super::wire(condition.clone())), condition);
    }
}
