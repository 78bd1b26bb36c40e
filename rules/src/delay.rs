//! Delays: when an event is first sent, some time after its request came or at a time in the body.
//!
//! A time is a text as RFC 3339 has it, or Unix time as a number or a text of digits: seconds up to
//! 99,999,999,999, milliseconds above. A time that is past delays nothing. One that is not there,
//! that cannot be read or that is too far away is a fault of the request, never a guess.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::{InvalidRule, Projection};

/// Thirty days: the longest delay, in milliseconds.
pub const MAX_EVENT_DELAY_MS: u64 = 30 * 24 * 60 * 60 * 1_000;

/// Seconds beyond it would be in the year 5138, milliseconds below it are in 1973.
const MOST_SECONDS: u64 = 99_999_999_999;
const MAX_PATH_BYTES: usize = 256;
const MAX_PATH_KEYS: usize = 16;

/// What a delay rule says: exactly one of the two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DelaySpec {
    /// Milliseconds after the request came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<u64>,
    /// Keys that lead to a time in the body, `data.send_at`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// A checked delay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delay(When);

#[derive(Clone, Debug, PartialEq, Eq)]
enum When {
    After(u64),
    At(Vec<String>),
}

impl Delay {
    /// Checks a delay.
    ///
    /// # Errors
    /// [`InvalidRule`] names the field and what would be right.
    pub fn compile(spec: &DelaySpec) -> Result<Self, InvalidRule> {
        match (spec.delay, spec.until.as_deref()) {
            (Some(millis), None) if (1..=MAX_EVENT_DELAY_MS).contains(&millis) => {
                Ok(Self(When::After(millis)))
            }
            (Some(millis), None) => Err(InvalidRule::new(
                "delay",
                format!("{millis} ms; 1 to {MAX_EVENT_DELAY_MS} ms are possible"),
            )),
            (None, Some(path)) => Ok(Self(When::At(keys(path)?))),
            (Some(_), Some(_)) => Err(InvalidRule::new(
                "until",
                "stands beside a `delay`; give one of the two",
            )),
            (None, None) => Err(InvalidRule::new(
                "delay",
                "is missing; give `delay` in milliseconds, or `until` with the path of a time in the body",
            )),
        }
    }

    /// Whether the body has to be read for it.
    #[must_use]
    pub fn needs_body(&self) -> bool {
        matches!(self.0, When::At(_))
    }

    /// Adds what it looks at.
    pub(crate) fn mark(&self, projection: &mut Projection) {
        if let When::At(keys) = &self.0 {
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            projection.add_value(&keys);
        }
    }

    /// When the event of a request that came at `now` is due, in Unix milliseconds and not before
    /// `now`. `body` is `None` when it is not JSON.
    ///
    /// # Errors
    /// Why it cannot be told, without a value of the payload.
    pub fn due(&self, now: u64, body: Option<&Value>) -> Result<u64, String> {
        let keys = match &self.0 {
            When::After(millis) => return Ok(now.saturating_add(*millis)),
            When::At(keys) => keys,
        };
        let place = keys.join(".");
        let body = body.ok_or("the time to deliver at is not there: the body is not JSON")?;
        let value = keys.iter().try_fold(body, |inside, key| inside.get(key));
        let value = value
            .filter(|value| !value.is_null())
            .ok_or_else(|| format!("body.{place}: there is no time to deliver at"))?;
        let at = millis(value).ok_or_else(|| {
            format!("body.{place}: is no time; RFC 3339 and Unix seconds or milliseconds are read")
        })?;
        if at > now.saturating_add(MAX_EVENT_DELAY_MS) {
            return Err(format!(
                "body.{place}: is more than 30 days away, which is the longest delay"
            ));
        }
        Ok(at.max(now))
    }
}

fn keys(path: &str) -> Result<Vec<String>, InvalidRule> {
    let keys: Vec<String> = path.split('.').map(str::to_owned).collect();
    let fault = if path.len() > MAX_PATH_BYTES || keys.len() > MAX_PATH_KEYS {
        format!("is too long; {MAX_PATH_BYTES} bytes and {MAX_PATH_KEYS} keys are possible")
    } else if keys.iter().any(String::is_empty) {
        "has an empty key; name the time by its keys in the body, `data.send_at` for example"
            .to_owned()
    } else {
        return Ok(keys);
    };
    Err(InvalidRule::new("until", fault))
}

/// Unix milliseconds; a time before 1970 is 0.
fn millis(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => unix(number.as_f64()?),
        Value::String(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
            unix(text.parse::<u64>().ok()? as f64)
        }
        Value::String(text) => {
            let at = OffsetDateTime::parse(text.trim(), &Rfc3339).ok()?;
            let millis = at.unix_timestamp_nanos().div_euclid(1_000_000);
            Some(u64::try_from(millis).unwrap_or(0))
        }
        _ => None,
    }
}

/// Of seconds a fraction counts.
fn unix(number: f64) -> Option<u64> {
    let millis = if number > MOST_SECONDS as f64 {
        number
    } else {
        number * 1_000.0
    };
    // Saturates; what is too far away is refused by the caller.
    number.is_finite().then(|| millis.max(0.0).round() as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const NOW: u64 = 1_700_000_000_000;

    fn until(path: &str) -> Result<Delay, InvalidRule> {
        Delay::compile(&DelaySpec {
            until: Some(path.to_owned()),
            ..DelaySpec::default()
        })
    }

    fn after(millis: u64) -> Result<Delay, InvalidRule> {
        Delay::compile(&DelaySpec {
            delay: Some(millis),
            ..DelaySpec::default()
        })
    }

    #[test]
    fn a_delay_says_one_thing_within_its_bounds() {
        assert_eq!(after(5).unwrap().due(NOW, None), Ok(NOW + 5));
        for (invalid, field) in [
            (after(0), "delay"),
            (after(MAX_EVENT_DELAY_MS + 1), "delay"),
            (until(""), "until"),
            (until("a..b"), "until"),
            (until(&"a".repeat(257)), "until"),
            (until(&["a"; 17].join(".")), "until"),
            (Delay::compile(&DelaySpec::default()), "delay"),
            (
                Delay::compile(&DelaySpec {
                    delay: Some(1),
                    until: Some("a".to_owned()),
                }),
                "until",
            ),
        ] {
            assert_eq!(invalid.unwrap_err().path, field);
        }
        assert!(after(MAX_EVENT_DELAY_MS).is_ok());
    }

    #[test]
    fn a_time_is_read_in_each_of_its_forms() {
        let delay = until("data.at").unwrap();
        let due = |at: Value| delay.due(NOW, Some(&json!({"data": {"at": at}})));
        let later = Ok(NOW + 60_000);
        for at in [
            json!(1_700_000_060),
            json!(1_700_000_060.0),
            json!(1_700_000_060_000_u64),
            json!("1700000060"),
            json!("1700000060000"),
            json!("2023-11-14T22:14:20Z"),
            json!("2023-11-15T00:14:20.000+02:00"),
        ] {
            assert_eq!(due(at.clone()), later, "{at}");
        }
        assert_eq!(due(json!(1_700_000_000.5)), Ok(NOW + 500));
        for past in [json!(0), json!(-5), json!("1960-01-01T00:00:00Z")] {
            assert_eq!(due(past.clone()), Ok(NOW), "{past}");
        }
        let longest = NOW + MAX_EVENT_DELAY_MS;
        assert_eq!(due(json!(longest)), Ok(longest));
    }

    #[test]
    fn what_is_no_time_or_too_far_away_is_told_without_its_value() {
        let delay = until("data.at").unwrap();
        for body in [
            json!({}),
            json!([1]),
            json!({"data": 5}),
            json!({"data": {"at": null}}),
            json!({"data": {"at": "secret"}}),
            json!({"data": {"at": ""}}),
            json!({"data": {"at": true}}),
            json!({"data": {"at": {"secret": 1}}}),
            json!({"data": {"at": "2023-11-14"}}),
            json!({"data": {"at": NOW + MAX_EVENT_DELAY_MS + 1}}),
            json!({"data": {"at": 1e300}}),
            json!({"data": {"at": "99999999999999999999999"}}),
        ] {
            let why = delay.due(NOW, Some(&body)).expect_err("no time");
            assert!(why.starts_with("body.data.at: "), "{why}");
            assert!(!why.contains("secret"), "{why}");
        }
        assert!(delay.due(NOW, None).unwrap_err().contains("not JSON"));
    }

    proptest! {
        #[test]
        fn no_delay_is_longer_than_the_longest_or_ends_before_the_request_came(
            now in 0..u64::MAX / 2, at in any::<f64>(), text in ".{0,40}"
        ) {
            let delay = until("at").unwrap();
            for body in [json!({"at": at}), json!({"at": text})] {
                if let Ok(due) = delay.due(now, Some(&body)) {
                    prop_assert!((now..=now + MAX_EVENT_DELAY_MS).contains(&due));
                }
            }
        }

        #[test]
        fn what_is_read_of_a_body_is_enough(at in "[a-z0-9:TZ-]{0,24}", other in any::<u32>()) {
            let delay = until("data.at").unwrap();
            let whole = json!({"data": {"at": at, "other": other}, "at": other});
            let mut projection = Projection::default();
            projection.add_delay(&delay);
            let part = projection.read(&whole.to_string()).unwrap();
            prop_assert_eq!(delay.due(NOW, Some(&part)), delay.due(NOW, Some(&whole)));
        }
    }
}
