//! Where the API's JSON differs from the proto's: one table, both ways.
//!
//! FastHook's clients know `auth_type` beside `auth`, rules with a `type`, enum
//! names without prefix. Each entry turns such an object into the proto's form
//! before it is read, and back after it is written; being found by the
//! message's name, it works wherever the message stands.
//!
//! Owns those differences and nothing else: values are read and written by
//! [`super::json`], and whether they make sense is the service's to say.
//!
//! Invariants: reading what was written gives the same message; a key that is
//! not understood is never dropped.

mod auth;
mod connection;
mod destination;
pub(crate) mod enums;
mod list;
mod request;
mod source;

use prost_reflect::{FieldDescriptor, MessageDescriptor};
use serde_json::{Map, Value};

use super::fault::{Faults, Path};

type Object = Map<String, Value>;

/// How one message differs.
struct Shape {
    /// Full name of the message.
    message: &'static str,
    /// Keys that callers write although the message has no such field.
    extra: &'static [&'static str],
    /// Fields of the message that callers do not see.
    hidden: &'static [&'static str],
    read: fn(&mut Object, &Path<'_>, &mut Faults),
    write: fn(&mut Object),
}

static SHAPES: [Shape; 10] = [
    source::CONFIG,
    source::API_KEY_AUTH,
    source::PROVIDER_SIGNATURE,
    destination::CONFIG,
    connection::CONNECTION,
    connection::RULE,
    request::HEADER,
    list::PAGINATION,
    list::API_KEY,
    list::HANDLER_KEY,
];

/// Unions whose member is told by a `type`: the member's name is no part of a path.
const FLATTENED: [&str; 3] = [
    "hookplane.v1.SourceAuth",
    "hookplane.v1.DestinationAuth",
    connection::RULE.message,
];

fn of(descriptor: &MessageDescriptor) -> Option<&'static Shape> {
    let name = descriptor.full_name();
    SHAPES.iter().find(|shape| shape.message == name)
}

/// Turns what a caller wrote into the proto's form.
pub(crate) fn read(
    descriptor: &MessageDescriptor,
    object: &mut Object,
    at: &Path<'_>,
    faults: &mut Faults,
) {
    if let Some(shape) = of(descriptor) {
        (shape.read)(object, at, faults);
    }
}

/// Turns the proto's form into what callers see.
pub(crate) fn write(descriptor: &MessageDescriptor, object: &mut Object) {
    list::write_cursor(descriptor, object);
    list::write_agents(object);
    if let Some(shape) = of(descriptor) {
        (shape.write)(object);
    }
}

/// Every key a caller may write in this message.
pub(crate) fn names(descriptor: &MessageDescriptor) -> Vec<String> {
    let shape = of(descriptor);
    let hidden = shape.map_or(&[][..], |shape| shape.hidden);
    let extra = shape.map_or(&[][..], |shape| shape.extra);
    let fields = descriptor.fields().map(|field| field.name().to_owned());
    fields
        .filter(|name| !hidden.contains(&name.as_str()))
        .chain(extra.iter().map(|&name| name.to_owned()))
        .collect()
}

/// Members of a union whose `type` stands among the fields of the member.
pub(crate) fn union(descriptor: &MessageDescriptor) -> Option<&'static [&'static str]> {
    (descriptor.full_name() == connection::RULE.message).then_some(&connection::RULES)
}

/// Whether a message is a union of schemes that `auth_type` names.
pub(crate) fn is_scheme_union(descriptor: &MessageDescriptor) -> bool {
    FLATTENED.contains(&descriptor.full_name()) && union(descriptor).is_none()
}

/// The schema of a key that is no field of the message.
pub(crate) fn extra(descriptor: &MessageDescriptor, key: &str) -> Value {
    match (descriptor.name(), key) {
        ("SourceConfig", _) => auth::choice(&source::SCHEMES),
        ("DestinationConfig", _) => auth::choice(&destination::SCHEMES),
        _ => serde_json::json!({ "type": "string" }),
    }
}

/// True for a field that callers do not see as a level of its own.
pub(crate) fn is_flattened(field: &FieldDescriptor) -> bool {
    field.containing_oneof().is_some() && FLATTENED.contains(&field.parent_message().full_name())
}

fn unchanged_in(_: &mut Object, _: &Path<'_>, _: &mut Faults) {}

fn unchanged_out(_: &mut Object) {}

#[cfg(test)]
mod tests;
