//! Field paths of the service → field paths as the caller wrote them.
//!
//! The service speaks of `source.config.auth.hmac.secret`; the caller wrote
//! `config.auth.secret`.

use prost_reflect::MessageDescriptor;

use super::rules::{Body, Rule};
use super::shape;

/// What the caller knows the field as. A path that leaves the descriptors
/// (conditions of a filter, keys of a map) goes on unchanged from there.
pub(crate) fn shown(rule: &Rule, path: &str) -> String {
    let mut descriptor = Some(rule.method.input());
    let mut rest = path;
    if let Body::Field(body) = &rule.body {
        descriptor = body.kind().as_message().cloned();
        let (first, below) = split(path);
        let is_own = descriptor
            .as_ref()
            .is_some_and(|resource| resource.get_field_by_name(name(first)).is_some());
        if first == body.name() {
            rest = below;
        } else if !is_own {
            // A field beside the resource, from the path or the query.
            return path.to_owned();
        }
    }
    let shown = walk(descriptor, rest);
    if shown.is_empty() {
        "body".to_owned()
    } else {
        shown
    }
}

fn walk(mut descriptor: Option<MessageDescriptor>, mut rest: &str) -> String {
    let mut shown = Vec::new();
    while let Some(message) = descriptor.take().filter(|_| !rest.is_empty()) {
        let (segment, below) = split(rest);
        let Some(field) = message.get_field_by_name(name(segment)) else {
            break;
        };
        rest = below;
        if !shape::is_flattened(&field) {
            shown.push(segment);
        }
        if !field.is_map() {
            descriptor = field.kind().as_message().cloned();
        }
    }
    if !rest.is_empty() {
        shown.push(rest);
    }
    shown.join(".")
}

fn split(path: &str) -> (&str, &str) {
    path.split_once('.').unwrap_or((path, ""))
}

/// Without the place in a list.
fn name(segment: &str) -> &str {
    segment.split('[').next().unwrap_or(segment)
}
