//! JSON → message. Collects every fault instead of stopping at the first, and
//! stops reading when more of them would not be told.

use std::collections::HashMap;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value as Field,
};
use serde_json::{Map, Value};

use super::{number, timestamp, value as any};
use crate::rest::fault::{Faults, Path};
use crate::rest::shape;

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const BASE64_URL: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// Reads an object as a message. What is wrong with it goes to `faults`; the
/// message is to be used only when there are none.
pub(crate) fn message(
    descriptor: &MessageDescriptor,
    value: Value,
    at: &Path<'_>,
    faults: &mut Faults,
) -> DynamicMessage {
    match descriptor.full_name() {
        timestamp::NAME => return timestamp::read(descriptor, &value, at, faults),
        any::NAME => return any::read(descriptor, &value, at, faults),
        _ => {}
    }
    let mut message = DynamicMessage::new(descriptor.clone());
    let Value::Object(mut map) = value else {
        faults.expected(at, "an object", &value);
        return message;
    };
    shape::read(descriptor, &mut map, at, faults);
    for (key, value) in map {
        if faults.is_full() {
            break;
        }
        let Some(field) = descriptor.get_field_by_name(&key) else {
            faults.push(&at.field(&key), unknown(descriptor));
            continue;
        };
        // Null is how a caller says "not set".
        if value.is_null() {
            continue;
        }
        let place = if shape::is_flattened(&field) {
            *at
        } else {
            at.field(&key)
        };
        if let Some(value) = self::field(&field, value, &place, faults) {
            message.set_field(&field, value);
        }
    }
    message
}

fn unknown(descriptor: &MessageDescriptor) -> String {
    let names = shape::names(descriptor);
    if names.is_empty() {
        return "is not known here; nothing can be set".to_owned();
    }
    format!("is not known here; possible are {}", names.join(", "))
}

fn field(
    field: &FieldDescriptor,
    value: Value,
    at: &Path<'_>,
    faults: &mut Faults,
) -> Option<Field> {
    if field.is_map() {
        return match value {
            Value::Object(map) => Some(entries(field, map, at, faults)),
            other => {
                faults.expected(at, "an object", &other);
                None
            }
        };
    }
    if !field.is_list() {
        return single(&field.kind(), value, at, faults);
    }
    let Value::Array(items) = value else {
        faults.expected(at, "a list", &value);
        return None;
    };
    let mut list = Vec::with_capacity(items.len());
    for (place, item) in items.into_iter().enumerate() {
        if faults.is_full() {
            break;
        }
        list.extend(single(&field.kind(), item, &at.index(place), faults));
    }
    Some(Field::List(list))
}

fn entries(
    field: &FieldDescriptor,
    map: Map<String, Value>,
    at: &Path<'_>,
    faults: &mut Faults,
) -> Field {
    let kind = field.kind();
    let entry = kind.as_message().expect("a map field has an entry type");
    let key_kind = entry.map_entry_key_field().kind();
    let value_kind = entry.map_entry_value_field().kind();
    let mut fields: HashMap<MapKey, Field> = HashMap::new();
    for (key, value) in map {
        if faults.is_full() {
            break;
        }
        let place = at.field(&key);
        let name = single(&key_kind, Value::String(key.clone()), &place, faults)
            .and_then(Field::into_map_key);
        let value = single(&value_kind, value, &place, faults);
        if let (Some(name), Some(value)) = (name, value) {
            fields.insert(name, value);
        }
    }
    Field::Map(fields)
}

/// Reads one value, not a list or map.
pub(crate) fn single(
    kind: &Kind,
    value: Value,
    at: &Path<'_>,
    faults: &mut Faults,
) -> Option<Field> {
    let read = match kind {
        Kind::Message(descriptor) => {
            return Some(Field::Message(message(descriptor, value, at, faults)));
        }
        Kind::Enum(descriptor) => {
            return shape::enums::read(descriptor, &value, at, faults).map(Field::EnumNumber);
        }
        Kind::String => value.as_str().map(|text| Field::String(text.to_owned())),
        Kind::Bool => value.as_bool().map(Field::Bool),
        Kind::Bytes => value
            .as_str()
            .and_then(bytes)
            .map(|bytes| Field::Bytes(bytes.into())),
        Kind::Double => number::float(&value).map(Field::F64),
        #[expect(
            clippy::cast_possible_truncation,
            reason = "what a float field is: the nearest float"
        )]
        Kind::Float => number::float(&value).map(|number| Field::F32(number as f32)),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => whole(&value).map(Field::I32),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => whole(&value).map(Field::I64),
        Kind::Uint32 | Kind::Fixed32 => whole(&value).map(Field::U32),
        Kind::Uint64 | Kind::Fixed64 => whole(&value).map(Field::U64),
    };
    if read.is_none() {
        complain(kind, &value, at, faults);
    }
    read
}

fn whole<N: TryFrom<i128>>(value: &Value) -> Option<N> {
    number::integer(value).and_then(|number| N::try_from(number).ok())
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    BASE64
        .decode(text)
        .or_else(|_| BASE64_URL.decode(text))
        .ok()
}

fn complain(kind: &Kind, value: &Value, at: &Path<'_>, faults: &mut Faults) {
    let what = match kind {
        Kind::String => "a string",
        Kind::Bool => "true or false",
        Kind::Bytes => "base64 text",
        Kind::Uint32 | Kind::Fixed32 => "a whole number from 0 to 4294967295",
        Kind::Uint64 | Kind::Fixed64 => "a whole number, 0 or more",
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
            "a whole number from -2147483648 to 2147483647"
        }
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => "a whole number",
        Kind::Double | Kind::Float | Kind::Message(_) | Kind::Enum(_) => "a number",
    };
    // The right kind of JSON with a wrong content: naming the kind again would confuse.
    let same_kind = match kind {
        Kind::Bytes => value.is_string(),
        Kind::String | Kind::Bool => false,
        _ => value.is_number() || value.is_string(),
    };
    if same_kind {
        faults.push(at, format!("must be {what}"));
    } else {
        faults.expected(at, what, value);
    }
}

#[cfg(test)]
mod tests;
