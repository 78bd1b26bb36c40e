//! Headers of requests and attempts: their values as text where they are text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::{Object, Shape};
use crate::rest::fault::{Faults, Path};

const TEXT: &str = "value";
const BYTES: &str = "value_base64";

/// A list of `{name, value}`, so that order and repeats survive; `value_base64`
/// takes the place of `value` when the bytes are not UTF-8.
pub(super) const HEADER: Shape = Shape {
    message: "hookplane.v1.Header",
    extra: &[BYTES],
    hidden: &[],
    read,
    write,
};

fn read(object: &mut Object, at: &Path<'_>, faults: &mut Faults) {
    let text = object.remove(TEXT).filter(|value| !value.is_null());
    let bytes = object.remove(BYTES).filter(|value| !value.is_null());
    match (text, bytes) {
        (None, None) => {}
        (Some(Value::String(text)), None) => {
            object.insert(TEXT.to_owned(), Value::String(STANDARD.encode(text)));
        }
        (None, Some(bytes)) => {
            object.insert(TEXT.to_owned(), bytes);
        }
        (Some(other), None) => faults.expected(&at.field(TEXT), "a string", &other),
        (Some(_), Some(_)) => faults.push(
            &at.field(BYTES),
            format!("is another form of `{TEXT}`; give one of the two"),
        ),
    }
}

fn write(object: &mut Object) {
    let decoded = object
        .get(TEXT)
        .and_then(Value::as_str)
        .and_then(|encoded| STANDARD.decode(encoded).ok());
    match decoded.map(String::from_utf8) {
        Some(Ok(text)) => {
            object.insert(TEXT.to_owned(), Value::String(text));
        }
        _ => {
            if let Some(encoded) = object.remove(TEXT) {
                object.insert(BYTES.to_owned(), encoded);
            }
        }
    }
}
