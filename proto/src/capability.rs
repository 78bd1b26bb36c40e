//! Which capabilities a resource needs of the agent that is to use it.
//!
//! The contract says it field by field (`needs` in `capability.proto`). Found by
//! walking the encoded resource, because an agent of an earlier release drops
//! fields it does not know without a word: somebody else has to notice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use prost::bytes::Buf;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use prost_reflect::{ExtensionDescriptor, FieldDescriptor, Kind, MessageDescriptor, Value};

const OPTION: &str = "hookplane.v1.needs";
const RESOURCE: &str = "hookplane.agent.v1.Resource";
/// Knows `q` in questions about requests. No resource needs it: an agent without it would
/// answer as if nothing had been searched for, so it is not asked.
pub const SEARCH: &str = "search";

/// Knows what handlers say of their work, and finds events by it.
pub const HANDLER_OUTCOMES: &str = "handler_outcomes";

/// Carries out bulk operations, and finds what one made.
pub const BULK: &str = "bulk";

/// Deeper than any path to a field that needs something.
const MAX_DEPTH: usize = 16;

/// The fields below a message that lead to something.
#[derive(Default)]
struct Paths(BTreeMap<u32, Field>);

struct Field {
    needs: Option<&'static str>,
    below: Paths,
}

static PATHS: LazyLock<Paths> = LazyLock::new(|| {
    let pool = crate::descriptor_pool();
    let option = pool.get_extension_by_name(OPTION);
    let resource = pool.get_message_by_name(RESOURCE);
    match (option, resource) {
        (Some(option), Some(resource)) => Paths::below(&resource, &option, 0),
        _ => Paths::default(),
    }
});

static ALL: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let mut all = BTreeSet::from([SEARCH, BULK]);
    PATHS.name(&mut all);
    all.into_iter().collect()
});

/// Every capability of this release, sorted: what its agents name in their hello.
#[must_use]
pub fn all() -> &'static [&'static str] {
    &ALL
}

/// What an encoded `hookplane.agent.v1.Resource` needs. Bytes that are none need nothing.
#[must_use]
pub fn needs(resource: &[u8]) -> BTreeSet<&'static str> {
    let mut found = BTreeSet::new();
    // A resource that cannot be read is refused by whoever reads it.
    PATHS.walk(resource, &mut found).unwrap_or_default();
    found
}

impl Paths {
    fn below(message: &MessageDescriptor, option: &ExtensionDescriptor, depth: usize) -> Self {
        let mut paths = BTreeMap::new();
        for field in message.fields() {
            let needs = needed(&field, option);
            let below = match field.kind() {
                Kind::Message(inner) if depth < MAX_DEPTH && is_ours(&inner) => {
                    Self::below(&inner, option, depth + 1)
                }
                _ => Self::default(),
            };
            if needs.is_some() || !below.0.is_empty() {
                paths.insert(field.number(), Field { needs, below });
            }
        }
        Self(paths)
    }

    fn name(&self, all: &mut BTreeSet<&'static str>) {
        for field in self.0.values() {
            all.extend(field.needs);
            field.below.name(all);
        }
    }

    fn walk(
        &self,
        mut bytes: &[u8],
        found: &mut BTreeSet<&'static str>,
    ) -> Result<(), prost::DecodeError> {
        while bytes.has_remaining() {
            let (number, wire) = decode_key(&mut bytes)?;
            let known = self.0.get(&number);
            found.extend(known.and_then(|field| field.needs));
            match known {
                Some(field) if wire == WireType::LengthDelimited => {
                    let length = usize::try_from(decode_varint(&mut bytes)?).unwrap_or(usize::MAX);
                    let (inside, rest) = bytes.split_at(length.min(bytes.len()));
                    if !field.below.0.is_empty() {
                        field.below.walk(inside, found)?;
                    }
                    bytes = rest;
                }
                _ => skip_field(wire, number, &mut bytes, DecodeContext::default())?,
            }
        }
        Ok(())
    }
}

fn needed(field: &FieldDescriptor, option: &ExtensionDescriptor) -> Option<&'static str> {
    let options = field.options();
    if !options.has_extension(option) {
        return None;
    }
    match options.get_extension(option).as_ref() {
        // Once per field of the contract, for as long as the process lives.
        Value::String(name) => Some(String::leak(name.clone())),
        _ => None,
    }
}

/// `google.protobuf.Struct` holds itself, and nothing of ours.
fn is_ours(message: &MessageDescriptor) -> bool {
    message.full_name().starts_with("hookplane.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::v1::{Resource, SourceGroup, resource::Body};
    use crate::v1;
    use prost::Message as _;

    fn limited(rate_limit: u32) -> Vec<u8> {
        let config = v1::DestinationConfig {
            url: "https://receiver.test".to_owned(),
            rate_limit,
            ..v1::DestinationConfig::default()
        };
        let destination = v1::Destination {
            config: Some(config),
            ..v1::Destination::default()
        };
        let body = Some(Body::Destination(destination));
        Resource {
            key: None,
            version: 7,
            body,
        }
        .encode_to_vec()
    }

    #[test]
    fn only_a_field_that_is_set_needs_something() {
        assert!(needs(&limited(0)).is_empty());
        let found: Vec<_> = needs(&limited(5)).into_iter().collect();
        assert_eq!(found, ["destination_rate_limit"]);
    }

    #[test]
    fn needs_are_found_below_lists_and_choices() {
        let retry = v1::RetryRule {
            delays: vec![1_000],
            ..v1::RetryRule::default()
        };
        let rule = v1::Rule {
            rule: Some(v1::rule::Rule::Retry(retry)),
        };
        let delay = v1::rule::Rule::Delay(v1::DelayRule::default());
        let delay = v1::Rule { rule: Some(delay) };
        let deduplicate = v1::rule::Rule::Deduplicate(v1::DeduplicateRule::default());
        let deduplicate = v1::Rule {
            rule: Some(deduplicate),
        };
        let connection = v1::Connection {
            rules: vec![rule, delay, deduplicate],
            ..v1::Connection::default()
        };
        let group = SourceGroup {
            source: None,
            connections: vec![v1::Connection::default(), connection],
            handler_keys: Vec::new(),
        };
        let resource = Resource {
            body: Some(Body::Source(group)),
            ..Resource::default()
        };
        let found: Vec<_> = needs(&resource.encode_to_vec()).into_iter().collect();
        assert_eq!(found, ["deduplicate", "delay", "retry_lists"]);
    }

    #[test]
    fn what_is_no_resource_needs_nothing_and_harms_nobody() {
        for bytes in [&[0xff_u8; 40][..], &[0x1a, 0xff, 0xff, 0x03], &[0x07]] {
            drop(needs(bytes));
        }
    }

    #[test]
    fn this_release_names_all_its_capabilities() {
        assert!(all().is_sorted());
        assert!(all().contains(&"destination_rate_limit") && all().contains(&"retry_lists"));
    }
}
