//! Messages as JSON schemas, in the shape that callers see.

use std::collections::BTreeSet;

use prost_reflect::{EnumDescriptor, FieldDescriptor, FileDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

use crate::rest::json::{timestamp, value};
use crate::rest::shape;

const MASK: &str = "google.protobuf.FieldMask";
const PROBLEM: &str = "Problem";

/// The schemas that are referred to, each written once.
#[derive(Default)]
pub(super) struct Schemas {
    written: Map<String, Value>,
    begun: BTreeSet<String>,
}

impl Schemas {
    pub(super) fn finish(self) -> Value {
        Value::Object(self.written)
    }

    pub(super) fn reference(&mut self, message: &MessageDescriptor) -> Value {
        let name = message.name().to_owned();
        if self.begun.insert(name.clone()) {
            let schema = self.message(message);
            self.written.insert(name.clone(), schema);
        }
        refer(&name)
    }

    /// How every failure looks.
    pub(super) fn problem(&mut self) -> Value {
        let text = json!({ "type": "string" });
        let maybe = json!({ "type": ["string", "null"] });
        let schema = json!({
            "type": "object",
            "description": "What went wrong.",
            "required": ["error", "code", "message", "status"],
            "properties": {
                "error": text, "code": text, "message": text, "detail": maybe, "hint": maybe,
                "status": { "type": "integer" },
                "fields": { "type": "array", "items": {
                    "type": "object", "properties": { "field": text, "message": text },
                } },
                "data": { "type": "object" },
            },
        });
        self.written.entry(PROBLEM).or_insert(schema);
        refer(PROBLEM)
    }

    fn message(&mut self, message: &MessageDescriptor) -> Value {
        let description = comment(&message.parent_file(), message.path());
        let mut schema = match shape::union(message) {
            Some(members) => self.union(message, members),
            None => self.object(message),
        };
        if !description.is_empty() {
            schema["description"] = Value::from(description);
        }
        schema
    }

    fn object(&mut self, message: &MessageDescriptor) -> Value {
        let mut properties = Map::new();
        for name in shape::names(message) {
            let Some(field) = message.get_field_by_name(&name) else {
                properties.insert(name.clone(), shape::extra(message, &name));
                continue;
            };
            if field
                .kind()
                .as_message()
                .is_some_and(|kind| kind.full_name() == MASK)
            {
                continue;
            }
            let mut schema = self.field(&field);
            let text = comment(&field.parent_file(), field.path());
            if !text.is_empty() {
                schema["description"] = Value::from(text);
            }
            properties.insert(name, schema);
        }
        // The second name of the cursor stands beside the page.
        if properties.contains_key("models") && properties.contains_key("pagination") {
            let cursor = json!({ "type": ["string", "null"] });
            properties.insert("next_cursor".to_owned(), cursor);
        }
        json!({ "type": "object", "properties": properties })
    }

    /// Members told apart by `type`, each with its own fields.
    fn union(&mut self, message: &MessageDescriptor, members: &[&str]) -> Value {
        let member = |name: &&str| {
            let field = message.get_field_by_name(name)?;
            let inner = field.kind().as_message().cloned()?;
            let tag = json!({
                "type": "object",
                "required": ["type"],
                "properties": { "type": { "const": name } },
            });
            Some(json!({ "allOf": [tag, self.reference(&inner)] }))
        };
        let members: Vec<Value> = members.iter().filter_map(member).collect();
        json!({ "oneOf": members })
    }

    /// The schema of a field's value.
    pub(super) fn field(&mut self, field: &FieldDescriptor) -> Value {
        if field.is_map() {
            return json!({ "type": "object", "additionalProperties": { "type": "string" } });
        }
        let one = self.kind(&field.kind());
        if field.is_list() {
            return json!({ "type": "array", "items": one });
        }
        one
    }

    fn kind(&mut self, kind: &Kind) -> Value {
        match kind {
            Kind::Bool => json!({ "type": "boolean" }),
            Kind::String => json!({ "type": "string" }),
            Kind::Bytes => json!({ "type": "string", "contentEncoding": "base64" }),
            Kind::Double | Kind::Float => json!({ "type": "number" }),
            // Beyond 2^53 as text, so that no client bends it.
            Kind::Uint64 | Kind::Int64 | Kind::Fixed64 | Kind::Sint64 | Kind::Sfixed64 => {
                json!({ "type": ["integer", "string"] })
            }
            Kind::Uint32 | Kind::Int32 | Kind::Fixed32 | Kind::Sint32 | Kind::Sfixed32 => {
                json!({ "type": "integer" })
            }
            Kind::Enum(names) => choice(names),
            Kind::Message(message) => match message.full_name() {
                timestamp::NAME => json!({ "type": ["string", "null"], "format": "date-time" }),
                value::NAME => json!({}),
                _ if shape::is_scheme_union(message) => self.schemes(message),
                _ => self.reference(message),
            },
        }
    }

    /// `auth`: the fields of the scheme that `auth_type` names.
    fn schemes(&mut self, message: &MessageDescriptor) -> Value {
        let mut members: Vec<Value> = message
            .fields()
            .filter(|field| field.name() != "none")
            .filter_map(|field| field.kind().as_message().cloned())
            .map(|scheme| self.reference(&scheme))
            .collect();
        members.push(json!({ "type": "null" }));
        json!({ "anyOf": members })
    }
}

fn refer(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn choice(names: &EnumDescriptor) -> Value {
    let mut names: Vec<Value> = shape::enums::names(names)
        .into_iter()
        .map(Value::from)
        .collect();
    names.push(Value::Null);
    json!({ "enum": names })
}

/// What the contract says about the element at a path of a file, as one paragraph.
pub(super) fn comment(file: &FileDescriptor, path: &[i32]) -> String {
    let described = file.file_descriptor_proto();
    let info = described.source_code_info.as_ref();
    let mut places = info.into_iter().flat_map(|info| &info.location);
    let place = places.find(|place| place.path == path);
    let text = place
        .map(|place| place.leading_comments())
        .unwrap_or_default();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines.join(" ").trim().to_owned()
}
