//! From verb and path to a rule.
//!
//! Invariants: a literal segment wins over a field, the leftmost difference
//! deciding; the winning path alone decides which verbs there are.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use http::Method;
use percent_encoding::percent_decode_str;

use super::rules::{Rule, Segment, VERSION};

/// All rules, most literal paths first.
#[derive(Debug)]
pub(crate) struct Routes {
    places: Vec<Place>,
}

/// Rules whose paths match the same texts.
#[derive(Debug)]
struct Place {
    path: Vec<Option<String>>,
    rules: Vec<Arc<Rule>>,
}

/// The rule of a call and what its path holds.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) rule: Arc<Rule>,
    /// Field name and decoded text.
    pub(crate) captured: Vec<(String, String)>,
}

/// Why there is no rule.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    Path,
    /// The path exists; these verbs do too.
    Verb(String),
}

impl Routes {
    pub(crate) fn new(rules: Vec<Rule>) -> Self {
        // False sorts before true, so literals come first.
        let mut places: BTreeMap<Vec<(bool, String)>, Vec<Arc<Rule>>> = BTreeMap::new();
        for rule in rules {
            let form = rule.path.iter().map(|segment| match segment {
                Segment::Literal(text) => (false, text.clone()),
                Segment::Field(_) => (true, String::new()),
            });
            places
                .entry(form.collect())
                .or_default()
                .push(Arc::new(rule));
        }
        let places = places.into_iter().map(|(form, rules)| Place {
            path: form
                .into_iter()
                .map(|(is_field, text)| (!is_field).then_some(text))
                .collect(),
            rules,
        });
        Self {
            places: places.collect(),
        }
    }

    pub(crate) fn find(&self, verb: &Method, path: &str) -> Result<Found, Missing> {
        let segments = split(path).ok_or(Missing::Path)?;
        let place = self
            .places
            .iter()
            .find(|place| place.matches(&segments))
            .ok_or(Missing::Path)?;
        // HEAD is a GET whose body the caller does not want.
        let wanted = if verb == Method::HEAD {
            &Method::GET
        } else {
            verb
        };
        let rule = place
            .rules
            .iter()
            .find(|rule| rule.verb == *wanted)
            .ok_or_else(|| Missing::Verb(place.allow()))?;
        let captured = rule.path.iter().zip(&segments);
        let captured = captured.filter_map(|(segment, text)| match segment {
            Segment::Literal(_) => None,
            Segment::Field(name) => Some((name.clone(), text.to_string())),
        });
        Ok(Found {
            rule: Arc::clone(rule),
            captured: captured.collect(),
        })
    }
}

impl Place {
    fn matches(&self, segments: &[Cow<'_, str>]) -> bool {
        self.path.len() == segments.len()
            && self
                .path
                .iter()
                .zip(segments)
                .all(|(wanted, found)| match wanted {
                    Some(text) => text == found,
                    None => !found.is_empty(),
                })
    }

    fn allow(&self) -> String {
        let mut verbs: Vec<&str> = self.rules.iter().map(|rule| rule.verb.as_str()).collect();
        if verbs.contains(&"GET") {
            verbs.push("HEAD");
        }
        verbs.sort_unstable();
        verbs.join(", ")
    }
}

/// The decoded segments below the version. One slash at the end is forgiven.
fn split(path: &str) -> Option<Vec<Cow<'_, str>>> {
    let path = path.strip_prefix('/')?;
    let path = path.strip_suffix('/').unwrap_or(path);
    let mut segments = path
        .split('/')
        .map(|segment| percent_decode_str(segment).decode_utf8().ok())
        .collect::<Option<Vec<_>>>()?;
    if segments.first().is_some_and(|first| first == VERSION) {
        segments.remove(0);
    }
    Some(segments)
}
