//! Path, query and body of a call → the one message its method takes.
//!
//! Invariants: what the path says wins; every part of the call that is not
//! understood is a fault; a patch carries the mask of what its body holds.

use http::HeaderMap;
use prost_reflect::{DynamicMessage, Kind, MessageDescriptor, ReflectMessage as _, Value as Field};
use serde_json::Value;

use super::conditional;
use super::fault::{Faults, FieldFault, Path};
use super::json::{parse, read};
use super::query;
use super::route::Found;
use super::rules::Body;
use super::shape;

/// Masks name its keys one by one, so that a patch of one leaves the others.
const PATCHED_BY_KEY: &str = "config";
const MASK: &str = "update_mask";

pub(crate) fn message(
    found: &Found,
    query: &str,
    body: &[u8],
    headers: &HeaderMap,
) -> Result<DynamicMessage, Vec<FieldFault>> {
    let rule = &found.rule;
    let mut faults = Faults::default();
    let mut message = with_body(&rule.method.input(), &rule.body, body, &mut faults);
    query::read(rule, query, &mut message, &mut faults);
    conditional::read(headers, &mut message, &mut faults);
    for (name, text) in &found.captured {
        message.set_field_by_name(name, Field::String(text.clone()));
    }
    let faults = faults.into_vec();
    if faults.is_empty() {
        Ok(message)
    } else {
        Err(faults)
    }
}

fn with_body(
    input: &MessageDescriptor,
    rule: &Body,
    body: &[u8],
    faults: &mut Faults,
) -> DynamicMessage {
    let mut message = DynamicMessage::new(input.clone());
    let root = Path::ROOT;
    let field = match rule {
        Body::Nothing => {
            if !is_blank(body) {
                faults.push(&root, "is not used by this call; leave it out");
            }
            return message;
        }
        Body::Whole => {
            return match json(body, faults) {
                Some(json) => read::message(input, json, &root, faults),
                None => message,
            };
        }
        Body::Field(field) => field,
    };
    let kind = field.kind();
    let (Some(json), Some(inner)) = (json(body, faults), kind.as_message()) else {
        return message;
    };
    if input.get_field_by_name(MASK).is_some() {
        set_mask(&mut message, inner, &json, faults);
    }
    let resource = read::message(inner, json, &root, faults);
    message.set_field(field, Field::Message(resource));
    message
}

/// Clients that always send JSON send `{}` where nothing is asked for.
fn is_blank(body: &[u8]) -> bool {
    let body = body.trim_ascii();
    body.is_empty() || matches!(parse::parse(body), Ok(Value::Object(map)) if map.is_empty())
}

fn json(body: &[u8], faults: &mut Faults) -> Option<Value> {
    if body.trim_ascii().is_empty() {
        faults.push(&Path::ROOT, "must be a JSON object; the call has none");
        return None;
    }
    match parse::parse(body) {
        Ok(json) => Some(json),
        Err(error) => {
            faults.push(&Path::ROOT, format!("must be JSON: {error}"));
            None
        }
    }
}

fn set_mask(
    message: &mut DynamicMessage,
    resource: &MessageDescriptor,
    json: &Value,
    faults: &mut Faults,
) {
    let paths = paths(resource, json);
    if paths.is_empty() && json.is_object() {
        faults.push(&Path::ROOT, "must hold at least one field to change");
    }
    let Some(field) = message.descriptor().get_field_by_name(MASK) else {
        return;
    };
    if let Kind::Message(descriptor) = field.kind() {
        let mut mask = DynamicMessage::new(descriptor);
        let paths = paths.into_iter().map(Field::String).collect();
        mask.set_field_by_name("paths", Field::List(paths));
        message.set_field(&field, Field::Message(mask));
    }
}

/// The fields present, by their proto names.
fn paths(resource: &MessageDescriptor, json: &Value) -> Vec<String> {
    let mut paths = Vec::new();
    for (key, value) in present(resource, json) {
        let inner = resource
            .get_field_by_name(&key)
            .filter(|_| key == PATCHED_BY_KEY && value.is_object())
            .and_then(|field| field.kind().as_message().cloned());
        match inner {
            Some(inner) => {
                let below = present(&inner, &value);
                paths.extend(below.into_iter().map(|(name, _)| format!("{key}.{name}")));
            }
            None => paths.push(key),
        }
    }
    paths
}

/// Top-level keys in the proto's form. Faults are told when the body is read.
fn present(descriptor: &MessageDescriptor, json: &Value) -> Vec<(String, Value)> {
    let Value::Object(map) = json else {
        return Vec::new();
    };
    let mut map = map.clone();
    shape::read(descriptor, &mut map, &Path::ROOT, &mut Faults::default());
    map.into_iter().collect()
}
