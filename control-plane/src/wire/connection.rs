//! Connections and their rules, both ways.

use hookplane_proto::v1;
use hookplane_proto::v1::rule::Rule as Wire;
use hookplane_rules::{DeduplicateSpec, DelaySpec, FilterSpec, TransformSpec};

use super::{Secrets, destination, source, timestamp, value};
use crate::domain::connection::RetryStrategy;
use crate::domain::{
    Connection, ConnectionSpec, Destination, RetryRule, Rule, Source, Violation, etag,
};
use crate::service::{ConnectionDraft, Flow, State};

const DEFAULT_INTERVAL_MS: u64 = 60_000;

/// The message of a stored connection, without copies of what it connects.
#[must_use]
pub fn message(connection: &Connection) -> v1::Connection {
    let spec = &connection.spec;
    v1::Connection {
        id: connection.id.clone(),
        team_id: connection.team_id.clone(),
        name: spec.name.clone(),
        description: spec.description.clone(),
        source_id: connection.source_id.clone(),
        destination_id: connection.destination_id.clone(),
        rules: spec.rules.iter().map(rule).collect(),
        labels: spec.labels.clone().into_iter().collect(),
        disabled_at: connection.disabled_at.map(timestamp),
        paused_at: connection.paused_at.map(timestamp),
        drain: connection.drain.map(|drain| v1::Drain {
            resumed_at: Some(timestamp(drain.resumed_at)),
            rate: drain.rate,
        }),
        created_at: Some(timestamp(connection.created_at)),
        updated_at: Some(timestamp(connection.updated_at)),
        revision: connection.revision,
        ..v1::Connection::default()
    }
}

/// The same with secret-free copies of its ends, for readers.
#[must_use]
pub fn with_ends(
    connection: &Connection,
    from: Option<&Source>,
    to: Option<&Destination>,
    ingest_base: &str,
) -> v1::Connection {
    let bare = |mut message: v1::Source| {
        if let Some(config) = &mut message.config {
            config.auth = None;
        }
        message
    };
    v1::Connection {
        source: from.map(|from| bare(source::message(from, ingest_base, Secrets::Redacted))),
        destination: to.map(|to| {
            let mut message = destination::message(to, Secrets::Redacted);
            if let Some(config) = &mut message.config {
                config.auth = None;
            }
            message
        }),
        etag: etag(&connection.id, connection.revision, connection.updated_at),
        ..self::message(connection)
    }
}

/// What a message asks for, with defaults filled in.
///
/// # Errors
/// A [`Violation`] for each field whose shape makes no sense.
pub fn draft(message: v1::Connection) -> Result<ConnectionDraft, Vec<Violation>> {
    let mut faults = Vec::new();
    let rules = message
        .rules
        .into_iter()
        .enumerate()
        .filter_map(|(place, wire)| parse(place, wire, &mut faults))
        .collect();
    let source_id = end(
        message.source_id,
        message.source.map(|source| source.id),
        "source_id",
        &mut faults,
    );
    let destination_id = end(
        message.destination_id,
        message.destination.map(|destination| destination.id),
        "destination_id",
        &mut faults,
    );
    if !faults.is_empty() {
        return Err(faults);
    }
    Ok(ConnectionDraft {
        id: message.id,
        source_id,
        destination_id,
        spec: ConnectionSpec {
            name: message.name,
            description: message.description,
            labels: message.labels.into_iter().collect(),
            rules,
        },
        state: State::of_disabled_at(message.disabled_at.is_some()),
        flow: Flow::of_paused_at(message.paused_at.is_some()),
    })
}

/// The id field, or the id inside the nested message.
fn end(id: String, nested: Option<String>, field: &str, faults: &mut Vec<Violation>) -> String {
    let nested = nested.unwrap_or_default();
    if !id.is_empty() && !nested.is_empty() && id != nested {
        faults.push(Violation::new(
            field,
            format!("`{id}` and `{nested}` are both given"),
        ));
    }
    if id.is_empty() { nested } else { id }
}

fn parse(place: usize, wire: v1::Rule, faults: &mut Vec<Violation>) -> Option<Rule> {
    match wire.rule {
        Some(Wire::Filter(filter)) => filter_rule(place, filter, faults),
        Some(Wire::Retry(retry)) => {
            let strategy = match v1::RetryStrategy::try_from(retry.strategy) {
                Ok(v1::RetryStrategy::Unspecified | v1::RetryStrategy::Exponential) => {
                    RetryStrategy::Exponential
                }
                Ok(v1::RetryStrategy::Linear) => RetryStrategy::Linear,
                Ok(v1::RetryStrategy::List) => RetryStrategy::List,
                Err(_) => {
                    faults.push(Violation::new(
                        format!("rules[{place}].strategy"),
                        "give `exponential`, `linear` or `list`",
                    ));
                    return None;
                }
            };
            let interval = match (strategy, retry.interval) {
                (RetryStrategy::Exponential | RetryStrategy::Linear, 0) => DEFAULT_INTERVAL_MS,
                (_, given) => given,
            };
            Some(Rule::Retry(RetryRule {
                strategy,
                count: retry.count,
                interval,
                response_status_codes: retry.response_status_codes,
                give_up_status_codes: retry.give_up_status_codes,
                delays: retry.delays,
                jitter_percent: retry.jitter_percent,
            }))
        }
        Some(Wire::Delay(delay)) => Some(Rule::Delay(DelaySpec {
            delay: delay.delay,
            until: delay.until,
        })),
        Some(Wire::Transform(rule)) => Some(Rule::Transform(TransformSpec { code: rule.code })),
        Some(Wire::Deduplicate(rule)) => Some(Rule::Deduplicate(DeduplicateSpec {
            window: rule.window,
            include_fields: rule.include_fields,
        })),
        None => {
            faults.push(Violation::new(
                format!("rules[{place}]"),
                "a rule is a `filter`, a `deduplicate`, a `delay`, a `transform` or a `retry`",
            ));
            None
        }
    }
}

/// Conditions of its own, or the name of stored ones.
fn filter_rule(place: usize, rule: v1::FilterRule, faults: &mut Vec<Violation>) -> Option<Rule> {
    let spec = FilterSpec {
        headers: rule.headers.map(value::json),
        body: rule.body.map(value::json),
        query: rule.query.map(value::json),
        path: rule.path.map(value::json),
        cel: rule.cel,
    };
    if rule.filter_id.is_empty() {
        return Some(Rule::Filter(spec));
    }
    if spec != FilterSpec::default() {
        faults.push(Violation::new(
            format!("rules[{place}].filter_id"),
            "a rule has conditions or names a stored filter; give one of the two",
        ));
        return None;
    }
    Some(Rule::FilterRef {
        filter_id: rule.filter_id,
    })
}

fn rule(rule: &Rule) -> v1::Rule {
    let wire = match rule {
        Rule::FilterRef { filter_id } => Wire::Filter(v1::FilterRule {
            filter_id: filter_id.clone(),
            ..v1::FilterRule::default()
        }),
        Rule::Filter(filter) => {
            let part = |json: &Option<serde_json::Value>| json.clone().map(value::wire);
            Wire::Filter(v1::FilterRule {
                headers: part(&filter.headers),
                body: part(&filter.body),
                query: part(&filter.query),
                path: part(&filter.path),
                cel: filter.cel.clone(),
                filter_id: String::new(),
            })
        }
        Rule::Delay(delay) => Wire::Delay(v1::DelayRule {
            delay: delay.delay,
            until: delay.until.clone(),
        }),
        Rule::Transform(rule) => Wire::Transform(v1::TransformRule {
            code: rule.code.clone(),
        }),
        Rule::Deduplicate(rule) => Wire::Deduplicate(v1::DeduplicateRule {
            window: rule.window,
            include_fields: rule.include_fields.clone(),
        }),
        Rule::Retry(retry) => Wire::Retry(v1::RetryRule {
            strategy: match retry.strategy {
                RetryStrategy::Exponential => v1::RetryStrategy::Exponential,
                RetryStrategy::Linear => v1::RetryStrategy::Linear,
                RetryStrategy::List => v1::RetryStrategy::List,
            }
            .into(),
            count: retry.count,
            interval: retry.interval,
            response_status_codes: retry.response_status_codes.clone(),
            give_up_status_codes: retry.give_up_status_codes.clone(),
            delays: retry.delays.clone(),
            jitter_percent: retry.jitter_percent,
        }),
    };
    v1::Rule { rule: Some(wire) }
}
