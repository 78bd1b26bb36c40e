//! From wire resources to prepared configuration, one resource at a time.
//!
//! The only place in `control` that looks inside resources. Absent numbers get
//! their defaults here; values that this release does not know are refused as
//! `unsupported`, never guessed.

mod certificate;
mod destination;
mod rules;
mod source;

use std::fmt;

use hookplane_proto::agent::v1::{
    Resource, ResourceKey, ResourceKind, SourceGroup, resource::Body,
};
use hookplane_rules::InvalidRule;
use hookplane_signature::InvalidAuth;

use crate::config::{Destination, Source};

/// Kind and id. Sorts as the digest wants it: by the kind's name, then by id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) kind: Kind,
    pub(super) id: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Destination,
    Source,
}

/// A resource in the form the stages use.
#[derive(Debug)]
pub(super) enum Prepared {
    Source(Box<Source>),
    Destination(Box<Destination>),
}

/// Why a resource cannot be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unfit {
    /// Machine-readable.
    pub(super) reason: String,
    pub(super) message: String,
}

impl Unfit {
    pub(super) fn new(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            message: message.into(),
        }
    }

    fn unsupported(what: &str) -> Self {
        Self::new(
            "unsupported",
            format!("{what} is not known to this release of the agent"),
        )
    }
}

impl From<InvalidAuth> for Unfit {
    fn from(invalid: InvalidAuth) -> Self {
        let message = format!("config.auth.{}: {}", invalid.field, invalid.message);
        Self::new(invalid.reason, message)
    }
}

impl From<InvalidRule> for Unfit {
    fn from(invalid: InvalidRule) -> Self {
        Self::new("rule_invalid", invalid.to_string())
    }
}

impl Key {
    /// `None` for a kind of a later release.
    pub(super) fn from_wire(key: &ResourceKey) -> Option<Self> {
        let kind = match ResourceKind::try_from(key.kind) {
            Ok(ResourceKind::Source) => Kind::Source,
            Ok(ResourceKind::Destination) => Kind::Destination,
            Ok(ResourceKind::Unspecified) | Err(_) => return None,
        };
        let id = key.id.clone();
        (!id.is_empty()).then_some(Self { kind, id })
    }

    pub(super) fn to_wire(&self) -> ResourceKey {
        let kind = match self.kind {
            Kind::Source => ResourceKind::Source,
            Kind::Destination => ResourceKind::Destination,
        };
        ResourceKey {
            kind: kind.into(),
            id: self.id.clone(),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source => "source",
            Self::Destination => "destination",
        })
    }
}

/// Prepares one resource. `has_destination` tells whether a destination is in force.
pub(super) fn prepare(
    key: &Key,
    resource: &Resource,
    has_destination: impl Fn(&str) -> bool,
) -> Result<Prepared, Unfit> {
    let version = resource.version;
    let body = resource
        .body
        .as_ref()
        .ok_or_else(|| Unfit::unsupported("the form of the resource"))?;
    match (key.kind, body) {
        (Kind::Source, Body::Source(group)) => {
            let source = source::prepare(group, version)?;
            let missing = source
                .connections
                .iter()
                .find(|connection| !has_destination(&connection.destination_id));
            if let Some(connection) = missing {
                let message = format!(
                    "connection {} leads to {}, which is not in force here",
                    connection.id, connection.destination_id
                );
                return Err(Unfit::new("destination_missing", message));
            }
            named(key, &source.id)?;
            Ok(Prepared::Source(Box::new(source)))
        }
        (Kind::Destination, Body::Destination(wire)) => {
            let destination = destination::prepare(wire, version)?;
            named(key, &destination.id)?;
            Ok(Prepared::Destination(Box::new(destination)))
        }
        _ => Err(Unfit::new(
            "key_mismatch",
            "the body is of another kind than the key",
        )),
    }
}

/// A source that is not in force, for questions about it.
///
/// # Errors
/// Why this agent could not apply it.
pub(crate) fn source(group: &SourceGroup) -> Result<Source, String> {
    source::prepare(group, 0).map_err(|unfit| format!("{}: {}", unfit.reason, unfit.message))
}

fn named(key: &Key, id: &str) -> Result<(), Unfit> {
    if key.id == id {
        return Ok(());
    }
    let message = format!("the key names {}, the body {id}", key.id);
    Err(Unfit::new("key_mismatch", message))
}

/// The value, its default when 0, or a refusal past the bound.
fn bounded(field: &str, value: u32, default: u32, most: u32) -> Result<u32, Unfit> {
    match value {
        0 => Ok(default),
        value if value <= most => Ok(value),
        value => Err(Unfit::new(
            "limit_exceeded",
            format!("{field} is {value}; {most} is the most"),
        )),
    }
}

fn method(name: &str) -> Result<http::Method, Unfit> {
    let upper = name.bytes().all(|byte| byte.is_ascii_uppercase());
    match http::Method::from_bytes(name.as_bytes()) {
        Ok(method) if upper => Ok(method),
        _ => Err(Unfit::new(
            "method_invalid",
            format!("{name:?} is no upper-case method"),
        )),
    }
}
