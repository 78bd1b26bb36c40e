//! Headers and query strings as the JSON objects that filters look into.

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

/// Lower-case names to texts; a repeated header becomes an array in order of arrival.
/// Values that are not UTF-8 are taken with replacement characters.
pub fn headers_value<'a>(pairs: impl Iterator<Item = (&'a str, &'a [u8])>) -> Value {
    let mut map = Map::new();
    for (name, value) in pairs {
        insert(
            &mut map,
            name.to_ascii_lowercase(),
            &String::from_utf8_lossy(value),
        );
    }
    Value::Object(map)
}

/// Decoded names to decoded texts; a repeated name becomes an array. `+` is a space.
#[must_use]
pub fn query_value(raw: &str) -> Value {
    let mut map = Map::new();
    for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        insert(&mut map, decode(name), &decode(value));
    }
    Value::Object(map)
}

fn decode(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

fn insert(map: &mut Map<String, Value>, name: String, text: &str) {
    let text = Value::String(text.to_owned());
    match map.get_mut(&name) {
        None => {
            map.insert(name, text);
        }
        Some(Value::Array(values)) => values.push(text),
        Some(one) => *one = Value::Array(vec![one.take(), text]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn repeated_headers_become_a_list_under_the_lower_case_name() {
        let pairs: [(&str, &[u8]); 3] = [("X-A", b"1"), ("x-a", b"2"), ("B", b"\xff")];
        let value = headers_value(pairs.into_iter());
        assert_eq!(value, json!({"x-a": ["1", "2"], "b": "\u{fffd}"}));
    }

    #[test]
    fn query_strings_are_decoded_and_keep_repeats() {
        let value = query_value("a=1&b=x+y%21&a=2&c&&=z");
        assert_eq!(
            value,
            json!({"a": ["1", "2"], "b": "x y!", "c": "", "": "z"})
        );
    }
}
