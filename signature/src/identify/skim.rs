//! Finds a few texts in a JSON body without building it.
//!
//! A body is read here for each request, so what is not looked for must not be kept.
//! Invariant: it finds exactly what a lookup in the whole value would find, and nothing
//! in a body that could not be represented as one.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// More than any row of the table has.
const MOST_PATHS: usize = 8;

type Paths<'p> = [&'p [&'p str]];

/// The text at the first of the paths that has one; an empty one counts as none.
pub(super) fn first_text(body: &[u8], paths: &Paths<'_>) -> Option<String> {
    let mut found: [Option<String>; MOST_PATHS] = Default::default();
    let look = Look {
        paths,
        depth: 0,
        open: (0..paths.len().min(MOST_PATHS)).fold(0, |open, path| open | 1 << path),
        found: &mut found,
    };
    let mut body = serde_json::Deserializer::from_slice(body);
    look.deserialize(&mut body).ok()?;
    body.end().ok()?;
    found.into_iter().flatten().next()
}

/// A look at one value.
struct Look<'p, 'f> {
    paths: &'p Paths<'p>,
    /// Keys passed so far.
    depth: usize,
    /// A bit for each path that leads here or on from here.
    open: u8,
    found: &'f mut [Option<String>; MOST_PATHS],
}

impl<'p> Look<'p, '_> {
    fn inside(&mut self, open: u8) -> Look<'p, '_> {
        Look {
            paths: self.paths,
            depth: self.depth + 1,
            open,
            found: self.found,
        }
    }

    fn open_paths(&self) -> impl Iterator<Item = usize> + use<> {
        let open = self.open;
        (0..MOST_PATHS).filter(move |path| open & (1 << path) != 0)
    }

    /// The paths that go on through this key.
    fn through(&self, key: &str) -> u8 {
        self.open_paths()
            .filter(|path| self.paths[*path].get(self.depth) == Some(&key))
            .fold(0, |open, path| open | 1 << path)
    }
}

impl<'de> DeserializeSeed<'de> for Look<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        // Of a key that stands twice the last value counts, whatever it is.
        for path in self.open_paths() {
            self.found[path] = None;
        }
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Look<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        for path in self.open_paths() {
            if self.paths[path].len() == self.depth && !text.is_empty() {
                self.found[path] = Some(text.to_owned());
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(open) = map.next_key_seed(Key(&self))? {
            map.next_value_seed(self.inside(open))?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(self.inside(0))?.is_some() {}
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }
}

/// A key, as the paths that go on through it.
struct Key<'l, 'p, 'f>(&'l Look<'p, 'f>);

impl<'de> DeserializeSeed<'de> for Key<'_, '_, '_> {
    type Value = u8;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<u8, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_, '_, '_> {
    type Value = u8;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<u8, E> {
        Ok(self.0.through(key))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    const PATHS: &Paths<'_> = &[&["event", "type"], &["type"], &["id"]];

    /// What a lookup in the whole value finds.
    fn looked_up(body: &[u8]) -> Option<String> {
        let value: Value = serde_json::from_slice(body).ok()?;
        PATHS.iter().find_map(|path| {
            let found = path.iter().try_fold(&value, |value, key| value.get(key))?;
            let text = found.as_str().filter(|text| !text.is_empty());
            text.map(str::to_owned)
        })
    }

    #[test]
    fn it_finds_what_a_lookup_in_the_whole_value_finds() {
        let deep = |levels: usize| {
            let (open, close) = ("[".repeat(levels), "]".repeat(levels));
            format!("{{\"type\":\"a\",\"x\":{open}{close}}}")
        };
        let (fine, too_deep) = (deep(100), deep(200));
        for body in [
            r#"{"type":"a","event":{"type":"b"}}"#,
            r#"{"event":{"type":""},"type":"a"}"#,
            r#"{"event":{"type":"b"},"event":{"id":"c"},"id":"d"}"#,
            r#"{"type":"a","type":5,"id":"x"}"#,
            r#"{"type":5,"type":"a"}"#,
            r#"{"event":{"type":"b"},"event":7,"type":"t"}"#,
            r#"{"event":{"type":{"type":"b"}},"type":["a"]}"#,
            r#"{"x":{"type":"inner"},"id":"\u00e9\n"}"#,
            r#"{"t\u0079pe":"escaped key"}"#,
            r#"{"type":"a","n":1e999}"#,
            r#"{"type":"a","n":-1.5e3,"m":18446744073709551616}"#,
            r#"{"type":"a","s":"\ud800"}"#,
            r#"{"type":"a"} x"#,
            r#"{"type":"a","#,
            r#"[{"type":"a"}]"#,
            r#""type""#,
            "",
            &fine,
            &too_deep,
        ] {
            let bytes = body.as_bytes();
            assert_eq!(first_text(bytes, PATHS), looked_up(bytes), "{body}");
        }
        assert_eq!(first_text(b"{\"type\":\"a\",\"s\":\"\xff\"}", PATHS), None);
        assert_eq!(first_text(fine.as_bytes(), PATHS).as_deref(), Some("a"));
    }

    fn json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            Just("\"\"".to_owned()),
            Just("\"text\"".to_owned()),
            Just("12.5".to_owned()),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            let key = prop_oneof![Just("type"), Just("event"), Just("id"), Just("x")];
            let pair = (key, inner.clone()).prop_map(|(key, value)| format!("\"{key}\":{value}"));
            prop_oneof![
                prop::collection::vec(inner, 0..4).prop_map(|all| format!("[{}]", all.join(","))),
                prop::collection::vec(pair, 0..5).prop_map(|all| format!("{{{}}}", all.join(","))),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_agrees_on_any_body_and_on_any_part_of_one(body in json(), cut in 0_usize..64) {
            let whole = body.as_bytes();
            prop_assert_eq!(first_text(whole, PATHS), looked_up(whole));
            let part = &whole[..whole.len().saturating_sub(cut)];
            prop_assert_eq!(first_text(part, PATHS), looked_up(part));
        }
    }
}
