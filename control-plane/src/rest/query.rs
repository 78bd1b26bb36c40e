//! Query parameters → fields of the request message.

use std::collections::HashSet;

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, Value as Field};
use serde_json::Value;

use super::fault::{Faults, Path};
use super::json::{read, timestamp};
use super::rules::{Body, Rule, Segment};

/// Other names of fields, as FastHook's clients write them.
const ALIASES: [(&str, &str); 2] = [("cursor", "page_token"), ("webhook_id", "connection_id")];

/// Fills the fields that neither path nor body fill.
pub(crate) fn read(rule: &Rule, query: &str, message: &mut DynamicMessage, faults: &mut Faults) {
    let fields = settable(rule);
    let mut given = HashSet::new();
    for (name, text) in url::form_urlencoded::parse(query.as_bytes()) {
        if faults.is_full() {
            break;
        }
        let at = Path::ROOT.field(&name);
        let Some(field) = find(&fields, &name) else {
            faults.push(&at, unknown(&fields));
            continue;
        };
        if !given.insert(field.number()) && !field.is_list() {
            faults.push(&at, "is given twice; give it once");
            continue;
        }
        let Some(value) = read::single(&field.kind(), json(field, &text), &at, faults) else {
            continue;
        };
        if field.is_list() {
            if let Field::List(items) = message.get_field_mut(field) {
                items.push(value);
            }
        } else {
            message.set_field(field, value);
        }
    }
}

/// Fields that neither path nor body fill.
pub(crate) fn settable(rule: &Rule) -> Vec<FieldDescriptor> {
    let in_path = |name: &str| {
        rule.path
            .iter()
            .any(|segment| matches!(segment, Segment::Field(field) if field == name))
    };
    let in_body = |field: &FieldDescriptor| match &rule.body {
        Body::Nothing => false,
        Body::Whole => true,
        Body::Field(body) => body.number() == field.number(),
    };
    let has_text_form = |field: &FieldDescriptor| match field.kind() {
        Kind::Message(inner) => inner.full_name() == timestamp::NAME,
        _ => true,
    };
    rule.method
        .input()
        .fields()
        .filter(|field| !in_path(field.name()) && !in_body(field) && has_text_form(field))
        .collect()
}

fn find<'a>(fields: &'a [FieldDescriptor], name: &str) -> Option<&'a FieldDescriptor> {
    let by_name = |name: &str| fields.iter().find(|field| field.name() == name);
    by_name(name).or_else(|| {
        let (_, real) = ALIASES.iter().find(|(alias, _)| *alias == name)?;
        by_name(real)
    })
}

fn unknown(fields: &[FieldDescriptor]) -> String {
    if fields.is_empty() {
        return "is not known here; this call takes no parameters".to_owned();
    }
    let names: Vec<&str> = fields.iter().map(FieldDescriptor::name).collect();
    format!(
        "is not known here; possible parameters are {}",
        names.join(", ")
    )
}

/// The JSON that says the same. Numbers and enums are read from text anyway.
fn json(field: &FieldDescriptor, text: &str) -> Value {
    match (field.kind(), text) {
        (Kind::Bool, "true" | "1") => Value::Bool(true),
        (Kind::Bool, "false" | "0") => Value::Bool(false),
        _ => Value::from(text),
    }
}
