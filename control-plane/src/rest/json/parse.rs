//! Text → JSON, where a key that an object holds twice is a fault: which of the
//! two was meant nobody can tell.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Names in messages are cut here: the caller chose them.
const MAX_NAME: usize = 64;

/// # Errors
/// Says what is wrong and where; never shows a value.
pub(crate) fn parse(text: &[u8]) -> Result<Value, serde_json::Error> {
    serde_json::from_slice::<Unambiguous>(text).map(|parsed| parsed.0)
}

struct Unambiguous(Value);

impl<'de> Deserialize<'de> for Unambiguous {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Reader).map(Self)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("any JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Bool(truth))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Number::from_f64(number).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Unambiguous(item)) = from.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = from.next_key::<String>()? {
            if object.contains_key(&key) {
                let shown: String = key.chars().take(MAX_NAME).collect();
                return Err(A::Error::custom(format!(
                    "the key {shown:?} is given twice in one object"
                )));
            }
            let Unambiguous(value) = from.next_value()?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unambiguous_is_read_as_serde_json_reads_it() {
        for text in [
            "null",
            "[true, false, -1, 18446744073709551615, 1.5, 1e300, \"a\\u0000b\"]",
            r#"{"a": {"b": [{"a": 1}, {"a": 2}]}, "b": {}}"#,
        ] {
            let wanted: Value = serde_json::from_str(text).expect("it is JSON");
            assert_eq!(parse(text.as_bytes()).expect("it is JSON"), wanted);
        }
    }

    #[test]
    fn a_key_given_twice_is_named_at_any_depth() {
        for text in [
            r#"{"name": "a", "name": "b"}"#,
            r#"[{"x": {"name": 1, "\u006eame": 1}}]"#,
        ] {
            let fault = parse(text.as_bytes()).expect_err("it is ambiguous");
            assert!(
                fault.to_string().contains("\"name\" is given twice"),
                "{fault}"
            );
        }
    }
}
