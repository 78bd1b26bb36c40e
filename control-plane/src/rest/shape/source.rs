//! A source's `config`: its authentication, and the names its secrets go by.

use serde_json::Value;

use super::auth::{self, Scheme};
use super::{Object, Shape, unchanged_out};
use crate::rest::fault::{Faults, Path};

pub(super) const SCHEMES: [Scheme; 4] = [
    Scheme {
        tag: "BASIC_AUTH",
        field: "basic",
        form: "{username, password}",
    },
    Scheme {
        tag: "API_KEY",
        field: "api_key",
        form: "{header, api_key}",
    },
    Scheme {
        tag: "HMAC",
        field: "hmac",
        form: "{signature_header, secret, algorithm, encoding, prefix}",
    },
    Scheme {
        tag: "PROVIDER_SIGNATURE",
        field: "provider_signature",
        form: "{provider, webhook_signing_secret} or {provider, webhook_signing_secrets}",
    },
];

pub(super) const CONFIG: Shape = Shape {
    message: "hookplane.v1.SourceConfig",
    extra: &["auth_type"],
    hidden: &[],
    read: |object, at, faults| auth::read(object, &SCHEMES, at, faults),
    write: |object| auth::write(object, &SCHEMES),
};

pub(super) const API_KEY_AUTH: Shape = Shape {
    message: "hookplane.v1.ApiKeyAuth",
    extra: &[],
    hidden: &[],
    read: |object, at, faults| {
        alias(object, "header_name", "header", at, faults);
        alias(object, "header_key", "header", at, faults);
        alias(object, "value", "api_key", at, faults);
    },
    write: unchanged_out,
};

/// Lets a field be written under another name, but not under both.
fn alias(object: &mut Object, other: &str, name: &str, at: &Path<'_>, faults: &mut Faults) {
    let Some(value) = object.remove(other) else {
        return;
    };
    if object.contains_key(name) {
        faults.push(
            &at.field(other),
            format!("is another name of `{name}`; give one of the two"),
        );
        return;
    }
    object.insert(name.to_owned(), value);
}

const ONE: &str = "webhook_signing_secret";
const ALL: &str = "webhook_signing_secrets";
const TERMS: &str = "terms";

/// Stands in every secret that is shown; sent back, it keeps what is stored.
const REDACTED: char = '•';

pub(super) const PROVIDER_SIGNATURE: Shape = Shape {
    message: "hookplane.v1.ProviderSignature",
    extra: &[ONE],
    hidden: &[],
    read: read_secrets,
    write: |object| {
        let first = object.get(ALL).and_then(|list| list.get(0)).cloned();
        object.insert(ONE.to_owned(), first.unwrap_or(Value::Null));
        // Stored sources have them; without any there is nothing to tell.
        let terms = object.get(TERMS).and_then(Value::as_array);
        if terms.is_some_and(Vec::is_empty) {
            object.remove(TERMS);
        }
    },
};

/// Answers carry both forms, so both may come back; then one of them may be
/// the caller's change and the other the redacted remains.
fn read_secrets(object: &mut Object, at: &Path<'_>, faults: &mut Faults) {
    let Some(one) = object.remove(ONE).filter(|one| !one.is_null()) else {
        return;
    };
    let Value::String(one) = one else {
        faults.expected(&at.field(ONE), "a string", &one);
        return;
    };
    let list = match object.get(ALL) {
        None | Some(Value::Null) => {
            object.insert(ALL.to_owned(), Value::from(vec![one]));
            return;
        }
        Some(Value::Array(list)) => list,
        // The wrong type is said when the field is read.
        Some(_) => return,
    };
    let first = list.first().and_then(Value::as_str);
    if first == Some(one.as_str()) || one.contains(REDACTED) {
        return;
    }
    let remains = list.len() == 1 && first.is_some_and(|first| first.contains(REDACTED));
    if list.is_empty() || remains {
        object.insert(ALL.to_owned(), Value::from(vec![one]));
        return;
    }
    faults.push(
        &at.field(ONE),
        format!("differs from the first of `{ALL}`; give one of the two"),
    );
}
