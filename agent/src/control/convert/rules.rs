//! Connections and their rules.

use hookplane_proto::v1::{
    self, DeduplicateRule, DelayRule, FilterRule, RetryRule, RetryStrategy, TransformRule,
    rule::Rule,
};
use hookplane_rules::{
    Deduplicate, DeduplicateSpec, Delay, DelaySpec, Filter, FilterSpec, RetryPolicy, RetrySpec,
    Strategy, Transform, TransformSpec,
};
use prost_types::value::Kind;
use serde_json::{Map, Number, Value};

use super::Unfit;
use crate::config::{Connection, Drain};

const MAX_RULES: usize = 16;
/// Deeper values are refused before they are walked; filters allow 32 levels.
const MAX_DEPTH: usize = 64;

pub(super) fn connection(wire: &v1::Connection, source_id: &str) -> Result<Connection, Unfit> {
    if wire.id.is_empty() || wire.destination_id.is_empty() {
        let message = "a connection needs its id and its destination";
        return Err(Unfit::new("id_missing", message));
    }
    let of = |unfit: Unfit| Unfit::new(unfit.reason, format!("{}: {}", wire.id, unfit.message));
    if wire.source_id != source_id {
        let message = format!("belongs to source {:?}", wire.source_id);
        return Err(of(Unfit::new("key_mismatch", message)));
    }
    if wire.rules.len() > MAX_RULES {
        let message = format!("{MAX_RULES} rules are the most");
        return Err(of(Unfit::new("limit_exceeded", message)));
    }
    let (mut filters, mut deduplicate, mut delay) = (Vec::new(), None, None);
    let (mut transform, mut retry) = (None, None);
    let second = |kind: &str| {
        let message = format!("has more than one {kind} rule");
        of(Unfit::new("rule_invalid", message))
    };
    for rule in &wire.rules {
        match rule.rule.as_ref() {
            Some(Rule::Filter(rule)) => filters.push(filter(rule).map_err(of)?),
            Some(Rule::Transform(_)) if transform.is_some() => return Err(second("transform")),
            Some(Rule::Transform(rule)) => transform = Some(self::transform(rule).map_err(of)?),
            Some(Rule::Deduplicate(_)) if deduplicate.is_some() => {
                return Err(second("deduplicate"));
            }
            Some(Rule::Deduplicate(rule)) => {
                deduplicate = Some(self::deduplicate(rule).map_err(of)?);
            }
            Some(Rule::Delay(_)) if delay.is_some() => return Err(second("delay")),
            Some(Rule::Delay(rule)) => delay = Some(self::delay(rule).map_err(of)?),
            Some(Rule::Retry(_)) if retry.is_some() => return Err(second("retry")),
            Some(Rule::Retry(rule)) => retry = Some(policy(rule).map_err(of)?),
            None => return Err(of(Unfit::unsupported("a kind of rule"))),
        }
    }
    Ok(Connection {
        id: wire.id.clone(),
        name: wire.name.clone(),
        destination_id: wire.destination_id.clone(),
        enabled: wire.disabled_at.is_none(),
        paused: wire.paused_at.is_some(),
        drain: wire.drain.as_ref().map(drain).transpose().map_err(of)?,
        filters,
        deduplicate,
        delay,
        transform,
        retry: retry.unwrap_or_default(),
    })
}

fn drain(wire: &v1::Drain) -> Result<Drain, Unfit> {
    let at = wire.resumed_at.as_ref();
    let millis = at.and_then(|at| {
        let seconds = u64::try_from(at.seconds).ok()?.checked_mul(1_000)?;
        seconds.checked_add(u64::try_from(at.nanos).ok()? / 1_000_000)
    });
    match (millis, wire.rate) {
        (Some(before), rate @ 1..) => Ok(Drain { before, rate }),
        _ => Err(Unfit::new(
            "drain_invalid",
            "draining needs a time and a rate of at least 1",
        )),
    }
}

fn filter(rule: &FilterRule) -> Result<Filter, Unfit> {
    let part = |value: &Option<prost_types::Value>| value.as_ref().map(|v| json(v, 0)).transpose();
    let spec = FilterSpec {
        headers: part(&rule.headers)?,
        body: part(&rule.body)?,
        query: part(&rule.query)?,
        path: part(&rule.path)?,
        cel: rule.cel.clone(),
    };
    Ok(Filter::compile(&spec)?)
}

fn transform(rule: &TransformRule) -> Result<Transform, Unfit> {
    let code = rule.code.clone();
    Ok(Transform::compile(&TransformSpec { code })?)
}

fn deduplicate(rule: &DeduplicateRule) -> Result<Deduplicate, Unfit> {
    Ok(Deduplicate::compile(&DeduplicateSpec {
        window: rule.window,
        include_fields: rule.include_fields.clone(),
    })?)
}

fn delay(rule: &DelayRule) -> Result<Delay, Unfit> {
    Ok(Delay::compile(&DelaySpec {
        delay: rule.delay,
        until: rule.until.clone(),
    })?)
}

fn policy(rule: &RetryRule) -> Result<RetryPolicy, Unfit> {
    let strategy = match RetryStrategy::try_from(rule.strategy) {
        Ok(RetryStrategy::Unspecified | RetryStrategy::Exponential) => Strategy::Exponential,
        Ok(RetryStrategy::Linear) => Strategy::Linear,
        Ok(RetryStrategy::List) => Strategy::List,
        Err(_) => return Err(Unfit::unsupported("the strategy of a retry rule")),
    };
    Ok(RetryPolicy::compile(&RetrySpec {
        strategy,
        count: rule.count,
        interval_ms: rule.interval,
        delays_ms: rule.delays.clone(),
        jitter_percent: rule.jitter_percent,
        response_status_codes: rule.response_status_codes.clone(),
        give_up_status_codes: rule.give_up_status_codes.clone(),
    })?)
}

fn json(value: &prost_types::Value, depth: usize) -> Result<Value, Unfit> {
    if depth > MAX_DEPTH {
        return Err(Unfit::new(
            "rule_invalid",
            "a condition is nested too deeply",
        ));
    }
    Ok(match value.kind.as_ref() {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => Value::Bool(*value),
        Some(Kind::StringValue(value)) => Value::String(value.clone()),
        Some(Kind::NumberValue(value)) => number(*value)?,
        Some(Kind::ListValue(list)) => Value::Array(
            list.values
                .iter()
                .map(|value| json(value, depth + 1))
                .collect::<Result<_, _>>()?,
        ),
        Some(Kind::StructValue(fields)) => Value::Object(
            fields
                .fields
                .iter()
                .map(|(name, value)| Ok((name.clone(), json(value, depth + 1)?)))
                .collect::<Result<Map<_, _>, Unfit>>()?,
        ),
    })
}

/// Protobuf knows doubles only; whole ones become integers again, as they were written.
fn number(value: f64) -> Result<Value, Unfit> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() <= EXACT {
        return Ok(Value::Number(Number::from(value as i64)));
    }
    Number::from_f64(value)
        .map(Value::Number)
        .ok_or_else(|| Unfit::new("rule_invalid", "a number is not finite"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_delay_is_refused_by_name() {
        let delay = DelayRule {
            delay: Some(1_000),
            until: None,
        };
        let rule = v1::Rule {
            rule: Some(Rule::Delay(delay)),
        };
        let mut wire = v1::Connection {
            id: "web_1".to_owned(),
            source_id: "src_1".to_owned(),
            destination_id: "des_1".to_owned(),
            rules: vec![rule.clone()],
            ..v1::Connection::default()
        };
        assert!(connection(&wire, "src_1").unwrap().delay.is_some());
        wire.rules.push(rule);
        let unfit = connection(&wire, "src_1").unwrap_err();
        assert_eq!(unfit.reason, "rule_invalid");
        assert_eq!(unfit.message, "web_1: has more than one delay rule");
    }

    #[test]
    fn whole_numbers_stay_whole_and_fractions_stay_fractions() {
        assert_eq!(number(5.0).unwrap(), serde_json::json!(5));
        assert_eq!(number(-0.5).unwrap(), serde_json::json!(-0.5));
        assert!(number(f64::NAN).is_err());
    }
}
