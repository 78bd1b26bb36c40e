//! A retry policy as people write it, and the check that makes it one.
//!
//! Every fault names its field and the range that would be right.

use super::statuses::Statuses;
use super::{DEFAULT_JITTER, MAX_DELAY_MS, RetryPolicy, Schedule};
use crate::InvalidRule;

const MAX_RETRIES: u32 = 50;
const MIN_DELAY_MS: u64 = 1_000;
const DEFAULT_INTERVAL_MS: u64 = 60_000;
const MAX_JITTER: u32 = 50;

/// How the delays between tries come about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// `interval`, twice, four times, …, at most 24 h.
    #[default]
    Exponential,
    /// `interval`, twice, three times, …, at most 24 h.
    Linear,
    /// One delay per retry, as listed.
    List,
}

/// A policy as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetrySpec {
    pub strategy: Strategy,
    /// Retries after the first attempt. With a list: 0, or how many delays it has.
    pub count: u32,
    /// Milliseconds; 0 means 60,000. Not with a list.
    pub interval_ms: u64,
    /// Milliseconds, for [`Strategy::List`] only.
    pub delays_ms: Vec<u64>,
    /// Percent of a delay that it may be shorter or longer, 0 to 50; 20 when `None`.
    pub jitter_percent: Option<u32>,
    /// `429`, `500-599`: what is retried; everything but 2xx and 410 when empty.
    pub response_status_codes: Vec<String>,
    /// The same form: what ends the tries, stronger than the list above.
    pub give_up_status_codes: Vec<String>,
}

impl RetryPolicy {
    /// Checks a written policy.
    ///
    /// # Errors
    /// [`InvalidRule`] names the field and the range that would be right.
    pub fn compile(spec: &RetrySpec) -> Result<Self, InvalidRule> {
        let jitter_percent = spec.jitter_percent.unwrap_or(DEFAULT_JITTER);
        if jitter_percent > MAX_JITTER {
            return Err(InvalidRule::new(
                "jitter_percent",
                format!("{jitter_percent} percent; 0 to {MAX_JITTER} are possible"),
            ));
        }
        let schedule = match spec.strategy {
            Strategy::List => listed(spec)?,
            Strategy::Exponential | Strategy::Linear => computed(spec)?,
        };
        let (retried, given_up) = (&spec.response_status_codes, &spec.give_up_status_codes);
        Ok(Self {
            schedule,
            jitter_percent,
            retried: Statuses::parse("response_status_codes", retried)?,
            given_up: Statuses::parse("give_up_status_codes", given_up)?,
        })
    }

    /// A policy with the usual jitter and no give-up codes. `interval_ms` 0 means 60,000.
    ///
    /// # Errors
    /// As for [`RetryPolicy::compile`].
    pub fn new(
        strategy: Strategy,
        count: u32,
        interval_ms: u64,
        response_status_codes: &[String],
    ) -> Result<Self, InvalidRule> {
        Self::compile(&RetrySpec {
            strategy,
            count,
            interval_ms,
            response_status_codes: response_status_codes.to_vec(),
            ..RetrySpec::default()
        })
    }
}

fn computed(spec: &RetrySpec) -> Result<Schedule, InvalidRule> {
    let count = spec.count;
    if count > MAX_RETRIES {
        return Err(InvalidRule::new(
            "count",
            format!("{count} retries; 0 to {MAX_RETRIES} are possible"),
        ));
    }
    if !spec.delays_ms.is_empty() {
        return Err(InvalidRule::new(
            "delays",
            "delays belong to the strategy `list`; give `interval` and `count` here",
        ));
    }
    let interval_ms = match spec.interval_ms {
        0 => DEFAULT_INTERVAL_MS,
        given => given,
    };
    in_range("interval", interval_ms)?;
    Ok(Schedule::Computed {
        strategy: spec.strategy,
        count,
        interval_ms,
    })
}

fn listed(spec: &RetrySpec) -> Result<Schedule, InvalidRule> {
    let delays = &spec.delays_ms;
    if delays.is_empty() || delays.len() > MAX_RETRIES as usize {
        let text = format!(
            "{} delays; the strategy `list` needs 1 to {MAX_RETRIES}, one per retry",
            delays.len()
        );
        return Err(InvalidRule::new("delays", text));
    }
    if spec.count != 0 && spec.count as usize != delays.len() {
        let text = format!(
            "{} retries but {} delays; leave the count out",
            spec.count,
            delays.len()
        );
        return Err(InvalidRule::new("count", text));
    }
    if spec.interval_ms != 0 {
        let text = "an interval belongs to `exponential` and `linear`; give `delays` here";
        return Err(InvalidRule::new("interval", text));
    }
    for (place, delay) in delays.iter().enumerate() {
        in_range(&format!("delays[{place}]"), *delay)?;
    }
    Ok(Schedule::Listed(delays.clone()))
}

fn in_range(field: &str, millis: u64) -> Result<(), InvalidRule> {
    if (MIN_DELAY_MS..=MAX_DELAY_MS).contains(&millis) {
        return Ok(());
    }
    Err(InvalidRule::new(
        field,
        format!("{millis} ms; {MIN_DELAY_MS} to {MAX_DELAY_MS} ms are possible"),
    ))
}
