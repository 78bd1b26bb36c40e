//! Deduplication on one connection: which events are the same one for a receiver, and for how long.
//!
//! Owns the key of an event: what is looked at of its request, in the order of the rule. Refuses to
//! know who keeps keys. Invariants: equal keys mean equal values at each place, in the same kinds;
//! a request that has none of the places has no key, so nothing is ever taken for its repeat.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Input, InvalidRule, Looks, Projection};

/// Thirty days: the longest window, in milliseconds.
pub const MAX_DEDUPLICATE_WINDOW_MS: u64 = 30 * 24 * 60 * 60 * 1_000;

const MAX_FIELDS: usize = 16;
const MAX_FIELD_BYTES: usize = 256;
const MAX_KEYS: usize = 16;

/// What a deduplicate rule says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeduplicateSpec {
    /// Milliseconds from the first event on, 1 to [`MAX_DEDUPLICATE_WINDOW_MS`].
    pub window: u64,
    /// Places whose values together are the key: `message_id`, `event_type`, `path`, `body`,
    /// `body.data.id`, `headers.x-id`, `query.id`. None: the message id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub include_fields: Vec<String>,
}

/// A checked rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deduplicate {
    window: u64,
    places: Vec<Place>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    MessageId,
    EventType,
    Path,
    Header(String),
    Query(String),
    /// The whole body without keys.
    Body(Vec<String>),
}

/// What the provider says of a message.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hints<'a> {
    pub message_id: Option<&'a str>,
    pub event_type: Option<&'a str>,
}

impl Deduplicate {
    /// Checks a rule.
    ///
    /// # Errors
    /// [`InvalidRule`] names the field and what would be right.
    pub fn compile(spec: &DeduplicateSpec) -> Result<Self, InvalidRule> {
        if !(1..=MAX_DEDUPLICATE_WINDOW_MS).contains(&spec.window) {
            return Err(InvalidRule::new(
                "window",
                format!(
                    "{} ms; 1 to {MAX_DEDUPLICATE_WINDOW_MS} ms are possible",
                    spec.window
                ),
            ));
        }
        if spec.include_fields.len() > MAX_FIELDS {
            let count = spec.include_fields.len();
            return Err(InvalidRule::new(
                "include_fields",
                format!("{count} places; {MAX_FIELDS} are possible"),
            ));
        }
        let mut places = Vec::new();
        for (at, field) in spec.include_fields.iter().enumerate() {
            let found = place(field)
                .map_err(|why| InvalidRule::new(format!("include_fields[{at}]"), why))?;
            places.push(found);
        }
        if places.is_empty() {
            places.push(Place::MessageId);
        }
        Ok(Self {
            window: spec.window,
            places,
        })
    }

    /// Milliseconds from the first event on in which others with its key are repeats.
    #[must_use]
    pub fn window_ms(&self) -> u64 {
        self.window
    }

    /// Which parts it looks at. The whole body is taken as it came.
    #[must_use]
    pub fn looks(&self) -> Looks {
        let mut looks = Looks::default();
        for place in &self.places {
            match place {
                Place::Header(_) => looks.headers = true,
                Place::Query(_) => looks.query = true,
                Place::Body(keys) => looks.body |= !keys.is_empty(),
                Place::MessageId | Place::EventType | Place::Path => {}
            }
        }
        looks
    }

    /// Adds what it looks at.
    pub(crate) fn mark(&self, projection: &mut Projection) {
        for place in &self.places {
            if let Place::Body(keys) = place
                && !keys.is_empty()
            {
                let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
                projection.add_value(&keys);
            }
        }
    }

    /// What makes the event of a request the same as another one, handed to `take` piece by piece;
    /// `false` when it has none of the places, and then the pieces mean nothing.
    pub fn key(&self, input: &Input<'_>, hints: Hints<'_>, mut take: impl FnMut(&[u8])) -> bool {
        let mut any = false;
        for place in &self.places {
            let text = |text: Option<&str>| text.map(|text| text.as_bytes().to_vec());
            let (kind, value) = match place {
                Place::MessageId => (b'm', text(hints.message_id)),
                Place::EventType => (b'e', text(hints.event_type)),
                Place::Path => (b'p', text(Some(input.path))),
                Place::Header(name) => (b'h', input.headers.get(name).map(canonical)),
                Place::Query(name) => (b'q', input.query.get(name).map(canonical)),
                Place::Body(keys) if keys.is_empty() => (b'b', Some(input.raw_body.to_vec())),
                Place::Body(keys) => {
                    let found = input
                        .body
                        .and_then(|body| keys.iter().try_fold(body, |inside, key| inside.get(key)));
                    let found = found.filter(|value| !value.is_null());
                    (b'v', found.map(canonical))
                }
            };
            // With its length, so that what follows is never taken for a part of it.
            let length = value.as_ref().map_or(u64::MAX, |value| value.len() as u64);
            take(&[kind]);
            take(&length.to_le_bytes());
            if let Some(value) = value {
                any = true;
                take(&value);
            }
        }
        any
    }
}

fn place(field: &str) -> Result<Place, String> {
    if field.len() > MAX_FIELD_BYTES {
        return Err(format!("is too long; {MAX_FIELD_BYTES} bytes are possible"));
    }
    let (root, rest) = field
        .split_once('.')
        .map_or((field, None), |(root, rest)| (root, Some(rest)));
    Ok(match (root, rest) {
        ("message_id", None) => Place::MessageId,
        ("event_type", None) => Place::EventType,
        ("path", None) => Place::Path,
        ("body", None) => Place::Body(Vec::new()),
        ("headers", Some(name)) if !name.is_empty() => Place::Header(name.to_ascii_lowercase()),
        ("query", Some(name)) if !name.is_empty() => Place::Query(name.to_owned()),
        ("body", Some(keys)) => {
            let keys: Vec<String> = keys.split('.').map(str::to_owned).collect();
            if keys.iter().any(String::is_empty) {
                return Err(
                    "has an empty key; name a value by its keys, `body.data.id` for example"
                        .to_owned(),
                );
            }
            if keys.len() > MAX_KEYS {
                return Err(format!("is too deep; {MAX_KEYS} keys are possible"));
            }
            Place::Body(keys)
        }
        _ => {
            return Err(
                "is no place; give `message_id`, `event_type`, `path`, `body`, `body.…`, `headers.…` or `query.…`"
                    .to_owned(),
            );
        }
    })
}

/// The same bytes for the same value, whatever the order of its keys.
fn canonical(value: &Value) -> Vec<u8> {
    fn sorted(value: &Value) -> Value {
        match value {
            Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
            Value::Object(fields) => {
                let mut pairs: Vec<_> = fields.iter().collect();
                pairs.sort_unstable_by_key(|(name, _)| *name);
                let pairs = pairs.into_iter();
                Value::Object(
                    pairs
                        .map(|(name, value)| (name.clone(), sorted(value)))
                        .collect::<Map<_, _>>(),
                )
            }
            other => other.clone(),
        }
    }
    sorted(value).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn rule(fields: &[&str]) -> Result<Deduplicate, InvalidRule> {
        Deduplicate::compile(&DeduplicateSpec {
            window: 60_000,
            include_fields: fields.iter().map(|&field| field.to_owned()).collect(),
        })
    }

    struct Request {
        message_id: Option<&'static str>,
        headers: Value,
        query: Value,
        body: Value,
    }

    impl Request {
        fn key(&self, fields: &[&str]) -> Option<Vec<u8>> {
            let raw = self.body.to_string();
            let hints = Hints {
                message_id: self.message_id,
                event_type: None,
            };
            let input = Input {
                path: "/in",
                headers: &self.headers,
                query: &self.query,
                body: Some(&self.body),
                raw_body: raw.as_bytes(),
            };
            let mut key = Vec::new();
            rule(fields)
                .unwrap()
                .key(&input, hints, |piece| key.extend_from_slice(piece))
                .then_some(key)
        }
    }

    fn request(body: Value) -> Request {
        Request {
            message_id: Some("msg_1"),
            headers: json!({"x-id": "7", "x-many": ["1", "2"]}),
            query: json!({"id": "9"}),
            body,
        }
    }

    #[test]
    fn a_rule_names_places_that_there_are_within_its_bounds() {
        for window in [0, MAX_DEDUPLICATE_WINDOW_MS + 1] {
            let spec = DeduplicateSpec {
                window,
                ..DeduplicateSpec::default()
            };
            assert_eq!(Deduplicate::compile(&spec).unwrap_err().path, "window");
        }
        let long = format!("body.{}", "a".repeat(260));
        let deep = format!("body{}", ".a".repeat(17));
        for bad in [
            "",
            "id",
            "headers",
            "headers.",
            "query",
            "body.a..b",
            "body.",
            &long,
            &deep,
        ] {
            let fault = rule(&["path", bad]).unwrap_err();
            assert_eq!(fault.path, "include_fields[1]", "{bad}");
        }
        assert_eq!(rule(&["path"; 17]).unwrap_err().path, "include_fields");
        assert!(rule(&["path"; 16]).is_ok());
    }

    #[test]
    fn the_message_id_is_the_key_where_none_is_named() {
        let one = request(json!({"a": 1}));
        assert_eq!(one.key(&[]), request(json!({"a": 2})).key(&[]));
        let other = Request {
            message_id: Some("msg_2"),
            ..request(json!({"a": 1}))
        };
        assert_ne!(one.key(&[]), other.key(&[]));
    }

    #[test]
    fn what_is_not_there_makes_no_key_unless_something_else_is_there() {
        let one = request(json!({"data": {"id": null}}));
        for fields in [
            &["body.data.id"][..],
            &["body.id", "headers.x-none"],
            &["query.none"],
        ] {
            assert_eq!(one.key(fields), None, "{fields:?}");
        }
        assert!(one.key(&["body.data.id", "headers.X-Id"]).is_some());
        let without = Request {
            message_id: None,
            ..request(json!({}))
        };
        assert_eq!(without.key(&[]), None);
    }

    #[test]
    fn values_are_told_apart_by_their_kind_and_place_and_not_by_the_order_of_keys() {
        let key = |body: Value| request(body).key(&["body.a", "body.b"]);
        assert_eq!(
            key(json!({"a": {"x": 1, "y": 2}})),
            key(json!({"a": {"y": 2, "x": 1}, "c": 5}))
        );
        let different = [
            json!({"a": 1}),
            json!({"a": "1"}),
            json!({"b": 1}),
            json!({"a": [1]}),
            json!({"a": 1, "b": 1}),
            json!({"a": "x", "b": "yz"}),
            json!({"a": "xy", "b": "z"}),
        ];
        for (at, one) in different.iter().enumerate() {
            for other in &different[at + 1..] {
                assert_ne!(key(one.clone()), key(other.clone()), "{one} {other}");
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_read_of_a_body_is_enough(id in ".{0,8}", other in any::<u32>()) {
            let whole = json!({"data": {"id": id, "other": other}, "id": other});
            let checked = rule(&["body.data.id"]).unwrap();
            let mut projection = Projection::default();
            projection.add_deduplicate(&checked);
            let part = projection.read(&whole.to_string()).unwrap();
            let raw_key = |body: Value| request(body).key(&["body.data.id"]);
            prop_assert_eq!(raw_key(part), raw_key(whole));
        }
    }
}
