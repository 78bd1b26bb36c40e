//! Transformations: what of a request is sent instead of what came.
//!
//! Owns the shape of what an expression gives: a map of the parts that change. Refuses to know who
//! sends it and what is kept. Invariants: a part that is not named stays as it came; the result is
//! within its bounds or there is none; the same request and rule give the same result everywhere.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cel::{Program, Val};
use crate::{Input, InvalidRule, Looks};

/// Bytes of a body that is made.
pub const MAX_TRANSFORMED_BODY: usize = 1_024 * 1_024;
const MAX_HEADERS: usize = 64;
const MAX_HEADER_BYTES: usize = 8 * 1_024;
const MAX_TARGET_BYTES: usize = 4 * 1_024;

/// What a transform rule says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransformSpec {
    /// In the Common Expression Language: gives a map with `body`, `headers`, `path` or `query`.
    pub code: String,
}

/// A checked transformation.
#[derive(Clone, Debug)]
pub struct Transform {
    program: Program,
}

/// What is sent in place of what came; `None`: that part stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transformed {
    pub body: Option<Vec<u8>>,
    /// The new body is JSON.
    pub body_is_json: bool,
    /// In order of their names; without values a header is taken away.
    pub headers: Vec<(String, Vec<String>)>,
    pub path: Option<String>,
    /// Encoded, without the question mark.
    pub query: Option<String>,
}

impl Transform {
    /// Checks a transformation.
    ///
    /// # Errors
    /// [`InvalidRule`] names the field and what would be right.
    pub fn compile(spec: &TransformSpec) -> Result<Self, InvalidRule> {
        let program = Program::compile("code", &spec.code)?;
        Ok(Self { program })
    }

    /// Which parts it looks at.
    #[must_use]
    pub fn looks(&self) -> Looks {
        self.program.looks()
    }

    /// What is sent of a request.
    ///
    /// # Errors
    /// Why nothing can be sent, without values of the request.
    pub fn apply(&self, input: &Input<'_>) -> Result<Transformed, String> {
        let given = self.program.evaluate(input);
        let given = given.map_err(|fault| format!("the transformation failed: {fault}"))?;
        shaped(&given)
            .map_err(|fault| format!("the transformation gives what cannot be sent: {fault}"))
    }
}

fn shaped(given: &Val<'_>) -> Result<Transformed, String> {
    let Val::Map(parts) = given else {
        return Err("it is no map with body, headers, path or query".to_owned());
    };
    let mut made = Transformed::default();
    for (name, part) in parts.iter() {
        match name.as_str() {
            "body" => {
                let (bytes, is_json) = body(part)?;
                (made.body, made.body_is_json) = (Some(bytes), is_json);
            }
            "headers" => made.headers = headers(part)?,
            "path" => made.path = Some(path(part)?),
            "query" => made.query = Some(query(part)?),
            other => {
                let shown: String = other.chars().take(64).collect();
                return Err(format!(
                    "`{shown}` is no part; there are body, headers, path and query"
                ));
            }
        }
    }
    Ok(made)
}

/// A text and bytes as they are, all else as JSON.
fn body(part: &Val<'_>) -> Result<(Vec<u8>, bool), String> {
    let too_large = || format!("`body` has more than {MAX_TRANSFORMED_BODY} bytes");
    let bytes = match part {
        Val::Text(text) => (text.as_bytes().to_vec(), false),
        Val::Bytes(bytes) => (bytes.to_vec(), false),
        other => {
            let json = json(other, MAX_TRANSFORMED_BODY, "body")?;
            (json.to_string().into_bytes(), true)
        }
    };
    if bytes.0.len() > MAX_TRANSFORMED_BODY {
        return Err(too_large());
    }
    Ok(bytes)
}

fn json(part: &Val<'_>, mut room: usize, name: &str) -> Result<Value, String> {
    let made = part.clone().into_json(&mut room);
    made.map_err(|fault| format!("`{name}`: {fault}"))
}

/// Names to a text or a list of texts; null takes a header away.
fn headers(part: &Val<'_>) -> Result<Vec<(String, Vec<String>)>, String> {
    let Value::Object(fields) = json(part, 4 * MAX_HEADER_BYTES * 8, "headers")? else {
        return Err("`headers` is no map".to_owned());
    };
    if fields.len() > MAX_HEADERS {
        return Err(format!("`headers` has more than {MAX_HEADERS} names"));
    }
    let mut made = Vec::new();
    for (name, value) in fields {
        let shown: String = name.chars().take(64).collect();
        let is_token =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || name.len() > 128 || !name.bytes().all(is_token) {
            return Err(format!("`{shown}` is no name of a header"));
        }
        let values = texts(value).ok_or_else(|| {
            format!("`headers.{shown}` is neither a text nor a list of texts nor null")
        })?;
        for value in &values {
            let is_line = value
                .bytes()
                .all(|byte| byte >= 0x20 && byte != 0x7f || byte == b'\t');
            if value.len() > MAX_HEADER_BYTES || !is_line {
                return Err(format!(
                    "`headers.{shown}` is no line of at most {MAX_HEADER_BYTES} bytes"
                ));
            }
        }
        made.push((name.to_ascii_lowercase(), values));
    }
    Ok(made)
}

/// Scalars count as their text.
fn texts(value: Value) -> Option<Vec<String>> {
    let text = |value: Value| match value {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        _ => None,
    };
    match value {
        Value::Null => Some(Vec::new()),
        Value::Array(items) => items.into_iter().map(text).collect(),
        one => Some(vec![text(one)?]),
    }
}

fn path(part: &Val<'_>) -> Result<String, String> {
    let Val::Text(path) = part else {
        return Err("`path` is no text".to_owned());
    };
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"?#\"<>\\^`{|}".contains(&byte);
    if !path.starts_with('/') || path.len() > MAX_TARGET_BYTES || !path.bytes().all(plain) {
        return Err(format!(
            "`path` begins with `/`, has at most {MAX_TARGET_BYTES} bytes, and what is not plain is escaped"
        ));
    }
    Ok(path.to_string())
}

/// A text as it is, or names to texts, which are escaped.
fn query(part: &Val<'_>) -> Result<String, String> {
    let made = match part {
        Val::Text(text) => text.to_string(),
        other => {
            let Value::Object(fields) = json(other, MAX_TARGET_BYTES, "query")? else {
                return Err("`query` is neither a text nor a map".to_owned());
            };
            let mut pairs = Vec::new();
            for (name, value) in fields {
                let shown: String = name.chars().take(64).collect();
                let values = texts(value).ok_or_else(|| {
                    format!("`query.{shown}` is neither a text nor a list of texts")
                })?;
                for value in values {
                    pairs.push(format!("{}={}", escaped(&name), escaped(&value)));
                }
            }
            pairs.join("&")
        }
    };
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"#\"<>\\^`{|}".contains(&byte);
    if made.len() > MAX_TARGET_BYTES || !made.bytes().all(plain) {
        return Err(format!(
            "`query` has at most {MAX_TARGET_BYTES} bytes, and what is not plain is escaped"
        ));
    }
    Ok(made)
}

fn escaped(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests;
