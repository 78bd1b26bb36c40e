//! Resources as people write them in files and flags, turned into API messages.
//!
//! Owns the written shape (that of REST: `auth_type` with `auth`, rules tagged
//! by `type`) and its strict reading: an unknown key is an error that names it.
//! Refuses to judge values; that is the control plane's work.

use std::path::Path;

use prost_types::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use thiserror::Error;

use crate::failure::Failure;

mod connection;
mod destination;
mod destination_auth;
mod filter;
mod secret_term;
mod source;
mod structure;

pub(crate) use connection::{ConnectionShape, Endpoint, RuleShape};
pub(crate) use destination::DestinationShape;
pub(crate) use filter::FilterShape;
pub(crate) use source::SourceShape;

/// A written resource that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{field}: {message}")]
pub(crate) struct InvalidShape {
    /// Path within the resource, `config.auth.secret` for example.
    pub(crate) field: String,
    /// What is wrong and what would be right.
    pub(crate) message: String,
}

impl InvalidShape {
    pub(crate) fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
        }
    }

    /// As the failure of a command that was given `what`.
    pub(crate) fn in_resource(self, what: &str) -> Failure {
        let mut failure = Failure::new("INVALID_ARGUMENT", format!("{what} is not right"))
            .hint("correct the field and run the command again; nothing was changed by it");
        failure.fields.push((self.field, self.message));
        failure
    }
}

/// A resource that can be written.
pub(crate) trait Shape: DeserializeOwned {
    /// Keys that the server sets: they come with what was read, and are left out.
    const SET_BY_SERVER: &'static [&'static str];
}

/// Reads one resource from JSON, server-set keys left out, nulls as absent.
pub(crate) fn read<T: Shape>(mut written: Value) -> Result<T, InvalidShape> {
    if let Some(object) = written.as_object_mut() {
        keep_ends(object);
        object.retain(|key, value| !value.is_null() && !T::SET_BY_SERVER.contains(&key.as_str()));
        if let Some(config) = object.get_mut("config").and_then(Value::as_object_mut) {
            config.retain(|_, value| !value.is_null());
        }
    }
    serde_json::from_value(written).map_err(|error| {
        let text = error.to_string();
        InvalidShape::new(named_key(&text), text)
    })
}

/// A connection may name its ends by `source_id` and `destination_id`.
fn keep_ends(object: &mut Map<String, Value>) {
    for (id_key, key) in [("source_id", "source"), ("destination_id", "destination")] {
        if let Some(id) = object.remove(id_key).filter(Value::is_string) {
            object.insert(key.to_owned(), id);
        }
    }
}

/// serde names the key at fault between back quotes.
fn named_key(text: &str) -> String {
    text.split('`').nth(1).unwrap_or("(resource)").to_owned()
}

/// Reads a TOML or JSON file; `-` is standard input, where the first character decides.
pub(crate) fn read_file(path: &Path) -> Result<Value, Failure> {
    let from_stdin = path == Path::new("-");
    let text = if from_stdin {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(path)
    }
    .map_err(|error| Failure::file(path, &error))?;
    let is_json = match path.extension() {
        Some(extension) => extension.eq_ignore_ascii_case("json"),
        None => text.trim_start().starts_with('{'),
    };
    let parsed = if is_json {
        serde_json::from_str(&text).map_err(|error| error.to_string())
    } else {
        toml::from_str(&text).map_err(|error| error.to_string())
    };
    parsed.map_err(|error| {
        let form = if is_json { "JSON" } else { "TOML" };
        Failure::new(
            "FILE_MALFORMED",
            format!("{} is not {form}", path.display()),
        )
        .detail(error.trim_end())
        .hint("files are TOML, or JSON when their name ends in .json")
    })
}

/// The value of an enum by its short name, any case.
fn enum_value<E>(
    field: &str,
    prefix: &str,
    short: &str,
    parse: impl Fn(&str) -> Option<E>,
    known: &[&str],
) -> Result<E, InvalidShape> {
    let upper = short.to_uppercase();
    let full = if upper.starts_with(prefix) {
        upper
    } else {
        format!("{prefix}{upper}")
    };
    parse(&full).ok_or_else(|| {
        InvalidShape::new(
            field,
            format!("`{short}` is not known; it is one of {}", known.join(", ")),
        )
    })
}

/// The API knows kinds without a status by the time at which they were disabled.
fn disabled_at(status: Option<&str>) -> Result<Option<Timestamp>, InvalidShape> {
    match status {
        None => Ok(None),
        Some("disabled") => Ok(Some(Timestamp::default())),
        Some(other) => Err(InvalidShape::new(
            "status",
            format!("`{other}` is not possible; give `disabled`, or nothing to leave it as it is"),
        )),
    }
}

/// Reads an `auth` object of a known type; its unknown keys are errors.
fn auth_fields<T: DeserializeOwned>(auth: Option<&Value>) -> Result<T, InvalidShape> {
    let auth = auth.ok_or_else(|| {
        InvalidShape::new(
            "config.auth",
            "`auth_type` needs an `auth` object beside it",
        )
    })?;
    serde_json::from_value(auth.clone()).map_err(|error| {
        let text = error.to_string();
        InvalidShape::new(format!("config.auth.{}", named_key(&text)), text)
    })
}
