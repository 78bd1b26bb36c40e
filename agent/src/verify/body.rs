//! The body of a request as rules and hints see it.
//!
//! Read only of a request that is believed, at most once, and no more of it than the source's
//! branches look at. Refuses to know what they make of it.

use hookplane_rules::Projection;
use serde::de::IgnoredAny;
use serde_json::Value;

/// What could be read.
#[derive(Debug)]
pub(crate) enum Body {
    /// What is looked at of it.
    Json(Value),
    NotJson,
    /// JSON, but past what can be represented, with what is; wherever in the body it stands.
    Unreadable(String),
}

impl Body {
    pub(crate) fn read(bytes: &[u8], looked_at: &Projection) -> Self {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Self::NotJson;
        };
        let error = match looked_at.read(text) {
            Ok(value) => return Self::Json(value),
            Err(error) => error,
        };
        // Goes by the grammar alone, however deep it goes and large its numbers are.
        if serde_json::from_str::<IgnoredAny>(text).is_ok() {
            return Self::Unreadable(format!("the body cannot be read: {error}"));
        }
        Self::NotJson
    }

    /// For hints, to which an unreadable body is as good as none.
    pub(super) fn json(&self) -> Option<&Value> {
        match self {
            Self::Json(value) => Some(value),
            Self::NotJson | Self::Unreadable(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Body {
        let mut looked_at = Projection::default();
        looked_at.add_text(&["a"]);
        Body::read(bytes, &looked_at)
    }

    #[test]
    fn only_what_is_looked_at_is_kept() {
        let body = read(br#"{"a":"text","b":{"a":"other"}}"#);
        assert!(matches!(body, Body::Json(value) if value == serde_json::json!({"a": "text"})));
    }

    #[test]
    fn what_cannot_be_represented_makes_a_body_unreadable_wherever_it_stands() {
        let deep = format!(r#"{{"a":"t","b":{}{}}}"#, "[".repeat(200), "]".repeat(200));
        for body in [r#"{"a":"t","b":1e999}"#, r#"{"a":"t","b":"\ud800"}"#, &deep] {
            let read = read(body.as_bytes());
            assert!(matches!(&read, Body::Unreadable(_)), "{body}: {read:?}");
            assert!(read.json().is_none());
        }
    }

    #[test]
    fn a_body_with_a_fault_is_no_json_wherever_it_stands() {
        for body in [
            &b""[..],
            b"plain",
            b"{\"a\":\"t\",\"b\":\"\xff\"}",
            b"{\"a\":\"t\",\"b\":1e999,\"c\":\"\xff\"}",
            b"{\"a\":\"t\"} x",
            b"{\"a\":\"t\",",
        ] {
            assert!(matches!(read(body), Body::NotJson), "{body:?}");
        }
    }
}
