//! `google.protobuf.Value`: JSON inside a message, for filter conditions.

use std::collections::HashMap;

use prost_reflect::{
    DynamicMessage, MapKey, MessageDescriptor, ReflectMessage as _, Value as Field,
};
use serde_json::{Map, Value};

use super::number::{self, MAX_SAFE};
use crate::rest::fault::{Faults, Path};

pub(crate) const NAME: &str = "google.protobuf.Value";

/// A level of JSON costs three levels of protobuf, whose decoders stop at 100;
/// the messages around it on the way to the agents need the rest.
const MAX_DEPTH: usize = 28;

pub(crate) fn read(
    descriptor: &MessageDescriptor,
    value: &Value,
    at: &Path<'_>,
    faults: &mut Faults,
) -> DynamicMessage {
    if depth(value) > MAX_DEPTH {
        faults.push(
            at,
            format!("must not be nested deeper than {MAX_DEPTH} levels"),
        );
        return DynamicMessage::new(descriptor.clone());
    }
    if bends(value) {
        faults.push(
            at,
            "has a whole number beyond 9007199254740991, which would not be kept exactly; write it as text",
        );
    }
    build(descriptor, value)
}

// The reader of the text bounds the recursion of this and the next two (128 levels).
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn bends(value: &Value) -> bool {
    match value {
        Value::Number(number) => {
            let whole = number
                .as_u64()
                .or_else(|| number.as_i64().map(i64::unsigned_abs));
            whole.is_some_and(|whole| whole > MAX_SAFE)
        }
        Value::Array(items) => items.iter().any(bends),
        Value::Object(map) => map.values().any(bends),
        _ => false,
    }
}

fn build(descriptor: &MessageDescriptor, value: &Value) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    let (name, field) = match value {
        Value::Null => ("null_value", Field::EnumNumber(0)),
        Value::Bool(truth) => ("bool_value", Field::Bool(*truth)),
        Value::Number(number) => (
            "number_value",
            Field::F64(number.as_f64().unwrap_or_default()),
        ),
        Value::String(text) => ("string_value", Field::String(text.clone())),
        Value::Array(items) => {
            let items = items.iter().map(|item| build(descriptor, item));
            let list = wrapped(
                descriptor,
                "list_value",
                "values",
                Field::List(items.map(Field::Message).collect()),
            );
            ("list_value", list)
        }
        Value::Object(map) => {
            let fields: HashMap<MapKey, Field> = map
                .iter()
                .map(|(key, item)| {
                    let item = Field::Message(build(descriptor, item));
                    (MapKey::String(key.clone()), item)
                })
                .collect();
            let object = wrapped(descriptor, "struct_value", "fields", Field::Map(fields));
            ("struct_value", object)
        }
    };
    message.set_field_by_name(name, field);
    message
}

/// The `ListValue` or `Struct` that a list or object stands in.
fn wrapped(descriptor: &MessageDescriptor, variant: &str, name: &str, content: Field) -> Field {
    let inner = descriptor
        .get_field_by_name(variant)
        .and_then(|field| field.kind().as_message().cloned())
        .expect("google.protobuf.Value has its list and its struct");
    let mut message = DynamicMessage::new(inner);
    message.set_field_by_name(name, content);
    Field::Message(message)
}

pub(crate) fn write(message: &DynamicMessage) -> Value {
    let Some((_, field)) = message.fields().next() else {
        return Value::Null;
    };
    match field {
        Field::Bool(truth) => Value::Bool(*truth),
        Field::F64(number) => number::double(*number),
        Field::String(text) => Value::String(text.clone()),
        Field::Message(inner) => content(inner),
        _ => Value::Null,
    }
}

fn content(inner: &DynamicMessage) -> Value {
    let Some((_, field)) = inner.fields().next() else {
        // An empty list and an empty object set no field; their types differ.
        return if inner.descriptor().name() == "ListValue" {
            Value::Array(Vec::new())
        } else {
            Value::Object(Map::new())
        };
    };
    match field {
        Field::List(items) => items
            .iter()
            .map(|item| item.as_message().map_or(Value::Null, write))
            .collect(),
        Field::Map(fields) => fields
            .iter()
            .filter_map(|(key, item)| {
                let item = item.as_message().map_or(Value::Null, write);
                key.as_str().map(|key| (key.to_owned(), item))
            })
            .collect::<Map<_, _>>()
            .into(),
        _ => Value::Null,
    }
}
