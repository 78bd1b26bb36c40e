//! Lists and keys: the second name of the cursor, and what is shown once only.

use prost_reflect::MessageDescriptor;
use serde_json::Value;

use super::{Object, Shape, unchanged_in};

/// The last page has no next one; an empty text would be taken for a cursor.
pub(super) const PAGINATION: Shape = Shape {
    message: "hookplane.v1.Pagination",
    extra: &[],
    hidden: &[],
    read: unchanged_in,
    write: |object| {
        if object.get("next").and_then(Value::as_str) == Some("") {
            object.insert("next".to_owned(), Value::Null);
        }
    },
};

/// The secret of a key stands in the answer that made it and nowhere else.
pub(super) const API_KEY: Shape = Shape {
    message: "hookplane.v1.ApiKey",
    extra: &[],
    hidden: &[],
    read: unchanged_in,
    write: hide_no_key,
};

/// The same of a handler's key.
pub(super) const HANDLER_KEY: Shape = Shape {
    message: "hookplane.v1.HandlerKey",
    extra: &[],
    hidden: &[],
    read: unchanged_in,
    write: hide_no_key,
};

fn hide_no_key(object: &mut Object) {
    if object.get("key").and_then(Value::as_str) == Some("") {
        object.remove("key");
    }
}

/// `next_cursor` beside the page of every list, equal to `pagination.next`.
pub(super) fn write_cursor(descriptor: &MessageDescriptor, object: &mut Object) {
    let is_list = descriptor.get_field_by_name("models").is_some();
    if let (true, Some(pagination)) = (is_list, object.get("pagination")) {
        let next = pagination.get("next").cloned().unwrap_or(Value::Null);
        object.insert("next_cursor".to_owned(), next);
    }
}

/// Only the look-up of one resource asks the agents; elsewhere an empty list
/// would say that there are none.
pub(super) fn write_agents(object: &mut Object) {
    let asked = |agents: &Value| agents.as_array().is_none_or(|agents| !agents.is_empty());
    if object.contains_key("etag") {
        object.retain(|key, value| key != "agents" || asked(value));
    }
}
