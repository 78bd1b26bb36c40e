//! Connections: rules told apart by `type`, and ends named by `{id}`.

use serde_json::{Map, Value};

use super::{Object, Shape, unchanged_out};
use crate::rest::fault::{Faults, Path};

pub(super) const CONNECTION: Shape = Shape {
    message: "hookplane.v1.Connection",
    extra: &[],
    hidden: &[],
    read: |object, at, faults| {
        end(object, "source", "source_id", at, faults);
        end(object, "destination", "destination_id", at, faults);
    },
    write: unchanged_out,
};

/// An embedded `{id}` names the end, or a `{name}`, which only a whole configuration can look up. All else in it is the copy that answers
/// carry, which nobody can change from here.
fn end(object: &mut Object, name: &str, id_field: &str, at: &Path<'_>, faults: &mut Faults) {
    let Some(embedded) = object.remove(name).filter(|value| !value.is_null()) else {
        return;
    };
    let place = at.field(name);
    let Value::Object(embedded) = embedded else {
        faults.expected(&place, "an object with the `id`", &embedded);
        return;
    };
    let named = embedded.get("name").filter(|name| name.is_string());
    let Some(id) = embedded.get("id").filter(|id| id.is_string()) else {
        if let Some(text) = named {
            let by_name = Map::from_iter([("name".to_owned(), text.clone())]);
            object.insert(name.to_owned(), Value::Object(by_name));
            return;
        }
        faults.push(
            &place.field("id"),
            format!("must name an existing {name}, or give `{id_field}` instead"),
        );
        return;
    };
    match object.get(id_field).filter(|given| !given.is_null()) {
        Some(given) if given != id => {
            let what = format!("names another {name} than `{id_field}`; give one of the two");
            faults.push(&place.field("id"), what);
        }
        _ => {
            object.insert(id_field.to_owned(), id.clone());
        }
    }
}

/// Members of the union, which are also what callers write as `type`.
pub(super) const RULES: [&str; 5] = ["filter", "deduplicate", "delay", "transform", "retry"];

pub(super) const RULE: Shape = Shape {
    message: "hookplane.v1.Rule",
    extra: &["type"],
    hidden: &RULES,
    read: read_rule,
    write: |object| {
        let Some((kind, Value::Object(mut rule))) = std::mem::take(object).into_iter().next()
        else {
            return;
        };
        rule.retain(|name, value| !(LEFT_OUT.contains(&name.as_str()) && says_nothing(value)));
        rule.insert("type".to_owned(), Value::String(kind));
        *object = rule;
    },
};

/// Fields that FastHook's rules have not, and alternatives: shown when they say something.
const LEFT_OUT: [&str; 8] = [
    "cel",
    "include_fields",
    "delay",
    "until",
    "delays",
    "give_up_status_codes",
    "jitter_percent",
    "filter_id",
];

fn says_nothing(value: &Value) -> bool {
    value.is_null() || value == "" || value.as_array().is_some_and(Vec::is_empty)
}

fn read_rule(object: &mut Object, at: &Path<'_>, faults: &mut Faults) {
    let mut rule = std::mem::take(object);
    let kind = rule.remove("type").unwrap_or(Value::Null);
    let member = kind.as_str().and_then(|kind| {
        RULES
            .iter()
            .find(|member| member.eq_ignore_ascii_case(kind))
    });
    match member {
        Some(&member) => *object = Map::from_iter([(member.to_owned(), Value::Object(rule))]),
        None => faults.push(
            &at.field("type"),
            format!("must be one of {}", RULES.join(", ")),
        ),
    }
}
