//! Message → JSON: snake_case names, defaults written out, absent messages as null.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MapKey, ReflectMessage as _, Value as Field,
};
use serde_json::{Map, Value};

use super::{number, timestamp, value as any};
use crate::rest::shape;

/// Writes a message as the API shows it.
pub(crate) fn message(message: &DynamicMessage) -> Value {
    let descriptor = message.descriptor();
    match descriptor.full_name() {
        timestamp::NAME => return timestamp::write(message),
        any::NAME => return any::write(message),
        _ => {}
    }
    let mut map = Map::new();
    for field in descriptor.fields() {
        if let Some(value) = present(message, &field) {
            map.insert(field.name().to_owned(), value);
        }
    }
    shape::write(&descriptor, &mut map);
    Value::Object(map)
}

/// None for what is left out: the members of a union that are not the one set,
/// and free JSON that is absent, where null would be a value.
fn present(message: &DynamicMessage, field: &FieldDescriptor) -> Option<Value> {
    if !field.supports_presence() || message.has_field(field) {
        return Some(value(field, message.get_field(field).as_ref()));
    }
    let in_union = field
        .containing_oneof()
        .is_some_and(|oneof| !oneof.is_synthetic());
    let free = matches!(field.kind(), Kind::Message(inner) if inner.full_name() == any::NAME);
    (!in_union && !free).then_some(Value::Null)
}

fn value(field: &FieldDescriptor, value: &Field) -> Value {
    match value {
        Field::List(items) => items
            .iter()
            .map(|item| single(&field.kind(), item))
            .collect(),
        Field::Map(fields) => {
            let kind = field.kind();
            let entry = kind.as_message().expect("a map field has an entry type");
            let value_kind = entry.map_entry_value_field().kind();
            fields
                .iter()
                .map(|(key, item)| (key_text(key), single(&value_kind, item)))
                .collect::<Map<_, _>>()
                .into()
        }
        one => single(&field.kind(), one),
    }
}

fn key_text(key: &MapKey) -> String {
    match key {
        MapKey::Bool(key) => key.to_string(),
        MapKey::I32(key) => key.to_string(),
        MapKey::I64(key) => key.to_string(),
        MapKey::U32(key) => key.to_string(),
        MapKey::U64(key) => key.to_string(),
        MapKey::String(key) => key.clone(),
    }
}

fn single(kind: &Kind, value: &Field) -> Value {
    match value {
        Field::Bool(truth) => Value::Bool(*truth),
        Field::I32(number) => Value::from(*number),
        Field::U32(number) => Value::from(*number),
        Field::I64(number) => number::signed(*number),
        Field::U64(number) => number::unsigned(*number),
        Field::F32(number) => number::double(f64::from(*number)),
        Field::F64(number) => number::double(*number),
        Field::String(text) => Value::String(text.clone()),
        Field::Bytes(bytes) => Value::String(STANDARD.encode(bytes)),
        Field::EnumNumber(number) => match kind {
            Kind::Enum(descriptor) => shape::enums::write(descriptor, *number),
            _ => Value::from(*number),
        },
        Field::Message(inner) => message(inner),
        // Lists and maps stand in fields only, which `value` has taken apart.
        Field::List(_) | Field::Map(_) => Value::Null,
    }
}
