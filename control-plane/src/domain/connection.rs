//! Connections: one source to one destination, with ordered rules.

use std::collections::{BTreeMap, BTreeSet};

use hookplane_rules::{
    Deduplicate, DeduplicateSpec, Delay, DelaySpec, Filter, FilterSpec, InvalidRule, RetryPolicy,
    RetrySpec, Strategy, Transform, TransformSpec,
};
use serde::{Deserialize, Serialize};

use super::Millis;
use super::violation::{self, Violation};

const MAX_RULES: usize = 16;
/// Bytes of a connection's rules as JSON.
const MAX_RULES_BYTES: usize = 64 * 1_024;
/// Deliveries of held events per second.
pub const MAX_DRAIN_RATE: u32 = 10_000;
/// Bytes of all connections of one source as JSON. A source and its connections
/// travel to agents as one message of at most 4 MiB, in which a number of two
/// bytes has eleven.
pub const MAX_GROUP_BYTES: u64 = 512 * 1_024;

/// A connection as stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Connection {
    pub id: String,
    pub team_id: String,
    pub source_id: String,
    pub destination_id: String,
    pub spec: ConnectionSpec,
    /// `None` while enabled.
    pub disabled_at: Option<Millis>,
    /// Since when its events are held. Never set while it is disabled.
    // Rows of the release before this one have neither.
    #[serde(default)]
    pub paused_at: Option<Millis>,
    /// How what was held is let go.
    #[serde(default)]
    pub drain: Option<Drain>,
    pub created_at: Millis,
    pub updated_at: Millis,
    /// Configuration revision of the last change.
    pub revision: u64,
}

/// A resumed connection whose held events are delivered at a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    pub resumed_at: Millis,
    /// Per second and agent, 1 to [`MAX_DRAIN_RATE`].
    pub rate: u32,
}

/// What people set. Serialised into the database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConnectionSpec {
    pub name: String,
    pub description: String,
    pub labels: BTreeMap<String, String>,
    pub rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Rule {
    Filter(FilterSpec),
    /// Conditions that stand in a stored filter.
    FilterRef {
        filter_id: String,
    },
    Retry(RetryRule),
    Delay(DelaySpec),
    Deduplicate(DeduplicateSpec),
    Transform(TransformSpec),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryRule {
    pub strategy: RetryStrategy,
    pub count: u32,
    /// First delay in milliseconds; 0 with a list.
    pub interval: u64,
    pub response_status_codes: Vec<String>,
    // What is missing in rows of the first release has its default.
    #[serde(default)]
    pub give_up_status_codes: Vec<String>,
    /// Milliseconds, with a list.
    #[serde(default)]
    pub delays: Vec<u64>,
    #[serde(default)]
    pub jitter_percent: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryStrategy {
    Exponential,
    Linear,
    List,
}

impl ConnectionSpec {
    /// Every fault. Compiles each rule with the code that agents run.
    #[must_use]
    pub fn faults(&self) -> Vec<Violation> {
        let mut found = Vec::new();
        violation::name("name", &self.name, &mut found);
        violation::description(&self.description, &mut found);
        violation::labels(&self.labels, &mut found);
        if self.rules.len() > MAX_RULES {
            found.push(Violation::new(
                "rules",
                format!("{} rules; {MAX_RULES} are allowed", self.rules.len()),
            ));
            return found;
        }
        let length = json_length(&self.rules);
        if length > MAX_RULES_BYTES {
            found.push(Violation::new(
                "rules",
                format!("{length} bytes as JSON; {MAX_RULES_BYTES} are possible"),
            ));
        }
        let (mut retries, mut delays, mut deduplications) = (0, 0, 0);
        let mut transforms = 0;
        let mut named = BTreeSet::new();
        for (place, rule) in self.rules.iter().enumerate() {
            let fault = match rule {
                Rule::Filter(spec) => Filter::compile(spec).err(),
                Rule::FilterRef { filter_id } => {
                    if !named.insert(filter_id) {
                        found.push(Violation::new(
                            format!("rules[{place}].filter_id"),
                            "this filter stands in another rule of the connection",
                        ));
                    }
                    None
                }
                Rule::Retry(rule) => {
                    retries += 1;
                    rule.policy().err()
                }
                Rule::Delay(spec) => {
                    delays += 1;
                    Delay::compile(spec).err()
                }
                Rule::Transform(spec) => {
                    transforms += 1;
                    Transform::compile(spec).err()
                }
                Rule::Deduplicate(spec) => {
                    deduplications += 1;
                    Deduplicate::compile(spec).err()
                }
            };
            if let Some(fault) = fault {
                found.push(Violation::new(
                    format!("rules[{place}].{}", fault.path),
                    fault.message,
                ));
            }
        }
        for (kind, count) in [
            ("retry", retries),
            ("delay", delays),
            ("deduplicate", deduplications),
            ("transform", transforms),
        ] {
            if count > 1 {
                found.push(Violation::new(
                    "rules",
                    format!("{count} {kind} rules; one is allowed"),
                ));
            }
        }
        found
    }
}

impl ConnectionSpec {
    /// What it adds to the bytes of its source's connections.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        json_length(self) as u64
    }
}

impl ConnectionSpec {
    /// Stored filters that the rules refer to, with their place.
    pub fn filter_ids(&self) -> impl Iterator<Item = (usize, &str)> {
        let rules = self.rules.iter().enumerate();
        rules.filter_map(|(place, rule)| match rule {
            Rule::FilterRef { filter_id } => Some((place, filter_id.as_str())),
            Rule::Filter(_)
            | Rule::Retry(_)
            | Rule::Delay(_)
            | Rule::Deduplicate(_)
            | Rule::Transform(_) => None,
        })
    }

    /// Puts the conditions of stored filters in the place of references.
    ///
    /// # Errors
    /// The id of a filter that `find` does not know.
    pub fn resolve(&mut self, find: impl Fn(&str) -> Option<FilterSpec>) -> Result<(), String> {
        for rule in &mut self.rules {
            if let Rule::FilterRef { filter_id } = rule {
                let conditions = find(filter_id).ok_or_else(|| filter_id.clone())?;
                *rule = Rule::Filter(conditions);
            }
        }
        Ok(())
    }
}

impl Connection {
    /// Holds its events; doing it again changes nothing.
    pub fn pause(&mut self, now: Millis) {
        if self.paused_at.is_none() {
            (self.paused_at, self.drain) = (Some(now), None);
        }
    }

    /// Lets them go, at a rate if one is given. Without a pause there is nothing to let go.
    pub fn resume(&mut self, now: Millis, rate: Option<u32>) {
        if self.paused_at.take().is_some() {
            self.drain = rate.map(|rate| Drain {
                resumed_at: now,
                rate,
            });
        }
    }
}

/// The fault of a rate of draining.
#[must_use]
pub fn drain_fault(rate: u32) -> Option<Violation> {
    let message = format!("{rate} is not possible; give 1 to {MAX_DRAIN_RATE} per second");
    (rate > MAX_DRAIN_RATE).then(|| Violation::new("rate", message))
}

/// The fault of a connection whose source would have this many bytes of connections with it.
#[must_use]
pub fn group_fault(bytes: u64) -> Option<Violation> {
    let message = format!(
        "all connections of the source together would have {bytes} bytes as JSON; {MAX_GROUP_BYTES} are possible"
    );
    (bytes > MAX_GROUP_BYTES).then(|| Violation::new("rules", message))
}

fn json_length(value: &impl Serialize) -> usize {
    // What cannot be written has no length that would be allowed.
    serde_json::to_vec(value).map_or(usize::MAX, |text| text.len())
}

impl RetryRule {
    fn policy(&self) -> Result<RetryPolicy, InvalidRule> {
        RetryPolicy::compile(&RetrySpec {
            strategy: match self.strategy {
                RetryStrategy::Exponential => Strategy::Exponential,
                RetryStrategy::Linear => Strategy::Linear,
                RetryStrategy::List => Strategy::List,
            },
            count: self.count,
            interval_ms: self.interval,
            delays_ms: self.delays.clone(),
            jitter_percent: self.jitter_percent,
            response_status_codes: self.response_status_codes.clone(),
            give_up_status_codes: self.give_up_status_codes.clone(),
        })
    }
}
