//! What HTTP says in headers and gRPC in fields: the version that was read, and
//! the id that makes a call sent again the same call.

use http::header::{ETAG, HeaderMap, HeaderName, HeaderValue, IF_MATCH};
use prost_reflect::{DynamicMessage, Kind, ReflectMessage as _, Value as Field};
use serde_json::Value;

use super::fault::{Faults, Path};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Only requests that change something have it.
const CHANGES: &str = "validate_only";

/// Takes over `If-Match` and `Idempotency-Key`, unless the call says the same otherwise.
pub(crate) fn read(headers: &HeaderMap, message: &mut DynamicMessage, faults: &mut Faults) {
    let changes = message.descriptor().get_field_by_name(CHANGES).is_some();
    for (name, field) in [(IF_MATCH, "etag"), (IDEMPOTENCY_KEY, "request_id")] {
        let Some(value) = headers.get(&name) else {
            continue;
        };
        // Clients may send a key with whatever they send again; it does nothing here.
        if !changes && name == IDEMPOTENCY_KEY {
            continue;
        }
        let at = Path::ROOT;
        let at = at.field(name.as_str());
        let Some(text) = value.to_str().ok().and_then(unquoted) else {
            faults.push(&at, "must be one value in printable ASCII");
            continue;
        };
        let target = message.descriptor().get_field_by_name(field);
        let Some(target) = target.filter(|target| target.kind() == Kind::String && changes) else {
            // A condition that is not looked at must not seem to hold.
            if name == IF_MATCH {
                faults.push(&at, "is not possible here: the call has no etag to compare");
            }
            continue;
        };
        match message.get_field(&target).as_str() {
            Some("") | None => message.set_field(&target, Field::String(text.to_owned())),
            Some(given) if given == text => {}
            Some(_) => faults.push(&at, format!("says something else than `{field}`")),
        }
    }
}

/// One entity tag or token, in quotation marks or without.
fn unquoted(text: &str) -> Option<&str> {
    let text = text.trim();
    let text = text.strip_prefix("W/").unwrap_or(text);
    let text = match text.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"')?,
        None => text,
    };
    (!text.is_empty() && !text.contains(['"', ','])).then_some(text)
}

/// The `ETag` of an answer that is one resource.
pub(crate) fn etag(answer: &Value) -> Option<(HeaderName, HeaderValue)> {
    let etag = answer
        .get("etag")?
        .as_str()
        .filter(|etag| !etag.is_empty())?;
    let value = HeaderValue::try_from(format!("\"{etag}\"")).ok()?;
    Some((ETAG, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_read_with_and_without_its_marks_and_a_list_is_not() {
        for text in ["abc", "\"abc\"", "W/\"abc\"", " abc "] {
            assert_eq!(unquoted(text), Some("abc"), "{text}");
        }
        for text in ["", "\"\"", "\"a\", \"b\"", "\"abc"] {
            assert_eq!(unquoted(text), None, "{text}");
        }
    }
}
