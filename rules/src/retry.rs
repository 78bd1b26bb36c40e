//! What follows an attempt: done, another try at a computed time, or the end.
//!
//! The policy is data and the decision a pure function of policy, history,
//! outcome and a random draw; waiting is the caller's.

use std::time::Duration;

use crate::InvalidRule;

const MAX_RETRIES: u32 = 50;
const MIN_INTERVAL_MS: u64 = 1_000;
const MAX_DELAY_MS: u64 = 24 * 60 * 60 * 1_000;
const DEFAULT_INTERVAL_MS: u64 = 60_000;
const JITTER: f64 = 0.2;
/// After a timeout or 429 the default schedule waits at least this long.
const RELIEF: Duration = Duration::from_secs(60);
/// Eight tries over about 28 hours, as the providers themselves do it.
const DEFAULT_DELAYS_S: [u64; 7] = [5, 300, 1_800, 7_200, 18_000, 36_000, 36_000];

/// When failed deliveries of a connection are tried again.
#[derive(Clone, Debug, PartialEq)]
pub struct RetryPolicy {
    schedule: Schedule,
    /// Empty: every answer but 2xx and 410 is retried.
    statuses: Vec<(u16, u16)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// `interval`, twice, four times, …, at most 24 h.
    Exponential,
    /// `interval`, twice, three times, …, at most 24 h.
    Linear,
}

/// What came before the decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Attempts so far, with the one that just ended.
    pub attempts_made: u32,
    /// Replaces the policy's number of retries, 0 for a manual try for example.
    pub retries_allowed_override: Option<u32>,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Answered {
        status: u16,
        retry_after: Option<Duration>,
        /// The receiver asked for no more tries of this message.
        stop_requested: bool,
    },
    NoAnswer {
        /// `timeout`, `connect_refused`, …
        code: String,
        /// Trying again cannot help: the address is refused by policy, for example.
        permanent: bool,
    },
}

/// What to do, and why in words for the attempt's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    Succeeded,
    Retry { after: Duration, reason: String },
    GiveUp { reason: String },
}

#[derive(Clone, Debug, PartialEq)]
enum Schedule {
    Default,
    Computed {
        strategy: Strategy,
        count: u32,
        interval_ms: u64,
    },
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            schedule: Schedule::Default,
            statuses: Vec::new(),
        }
    }
}

impl RetryPolicy {
    /// A policy of one's own. `interval_ms` 0 means 60,000.
    ///
    /// # Errors
    /// [`InvalidRule`] names the field and the range that would be right.
    pub fn new(
        strategy: Strategy,
        count: u32,
        interval_ms: u64,
        response_status_codes: &[String],
    ) -> Result<Self, InvalidRule> {
        if count > MAX_RETRIES {
            return Err(InvalidRule::new(
                "count",
                format!("{count} retries; 0 to {MAX_RETRIES} are possible"),
            ));
        }
        let interval_ms = if interval_ms == 0 {
            DEFAULT_INTERVAL_MS
        } else {
            interval_ms
        };
        if !(MIN_INTERVAL_MS..=MAX_DELAY_MS).contains(&interval_ms) {
            return Err(InvalidRule::new(
                "interval",
                format!("{interval_ms} ms; {MIN_INTERVAL_MS} to {MAX_DELAY_MS} ms are possible"),
            ));
        }
        let statuses = response_status_codes
            .iter()
            .enumerate()
            .map(|(place, text)| status_range(place, text))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            schedule: Schedule::Computed {
                strategy,
                count,
                interval_ms,
            },
            statuses,
        })
    }

    /// Decides after an attempt. `draw` is a random number from 0 to 1 for the jitter.
    #[must_use]
    pub fn decide(&self, history: &History, outcome: &Outcome, draw: f64) -> Decision {
        let (cause, asked, relief) = match outcome {
            Outcome::Answered {
                status: 200..=299, ..
            } => return Decision::Succeeded,
            Outcome::Answered {
                stop_requested: true,
                ..
            } => {
                return give_up("the receiver asked for no more tries".into());
            }
            Outcome::Answered { status: 410, .. } => {
                return give_up("answered 410: the receiver is gone".into());
            }
            Outcome::Answered {
                status,
                retry_after,
                ..
            } => {
                if !self.retries_status(*status) {
                    return give_up(format!(
                        "answered {status}, which the policy does not retry"
                    ));
                }
                (format!("answered {status}"), *retry_after, *status == 429)
            }
            Outcome::NoAnswer {
                code,
                permanent: true,
            } => {
                return give_up(format!("{code}: another try cannot help"));
            }
            Outcome::NoAnswer {
                code,
                permanent: false,
            } => (code.clone(), None, code == "timeout"),
        };
        let retries = history.retries_allowed_override.unwrap_or(self.retries());
        let done = history.attempts_made.saturating_sub(1);
        if done >= retries {
            let attempts = history.attempts_made;
            return give_up(format!(
                "{cause}; no retries left after {attempts} attempts"
            ));
        }
        let mut scheduled = jittered(self.delay(done), draw);
        if relief && self.schedule == Schedule::Default {
            scheduled = scheduled.max(RELIEF);
        }
        // The receiver may ask for more time, up to twice ours, never for less.
        let after = asked.map_or(scheduled, |asked| asked.clamp(scheduled, scheduled * 2));
        let because = if after > scheduled {
            ", Retry-After honoured"
        } else {
            ""
        };
        Decision::Retry {
            after,
            reason: format!("{cause}; retry {} of {retries}{because}", done + 1),
        }
    }

    fn retries(&self) -> u32 {
        match self.schedule {
            Schedule::Default => DEFAULT_DELAYS_S.len() as u32,
            Schedule::Computed { count, .. } => count,
        }
    }

    fn retries_status(&self, status: u16) -> bool {
        self.statuses.is_empty()
            || self
                .statuses
                .iter()
                .any(|(low, high)| (*low..=*high).contains(&status))
    }

    /// Before jitter; `done` retries were made already.
    fn delay(&self, done: u32) -> Duration {
        let millis = match self.schedule {
            Schedule::Default => {
                let last = DEFAULT_DELAYS_S.len() - 1;
                DEFAULT_DELAYS_S[(done as usize).min(last)] * 1_000
            }
            Schedule::Computed {
                strategy: Strategy::Exponential,
                interval_ms,
                ..
            } => interval_ms.saturating_mul(1_u64.checked_shl(done).unwrap_or(u64::MAX)),
            Schedule::Computed {
                strategy: Strategy::Linear,
                interval_ms,
                ..
            } => interval_ms.saturating_mul(u64::from(done) + 1),
        };
        Duration::from_millis(millis.min(MAX_DELAY_MS))
    }
}

fn give_up(reason: String) -> Decision {
    Decision::GiveUp { reason }
}

fn jittered(delay: Duration, draw: f64) -> Duration {
    let draw = if draw.is_finite() {
        draw.clamp(0.0, 1.0)
    } else {
        0.5
    };
    delay.mul_f64(1.0 - JITTER + 2.0 * JITTER * draw)
}

fn status_range(place: usize, text: &str) -> Result<(u16, u16), InvalidRule> {
    let parse = |part: &str| {
        part.trim()
            .parse::<u16>()
            .ok()
            .filter(|status| (100..=599).contains(status))
    };
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    match (parse(low), parse(high)) {
        (Some(low), Some(high)) if low <= high => Ok((low, high)),
        _ => Err(InvalidRule::new(
            format!("response_status_codes[{place}]"),
            "is neither a status from 100 to 599 nor a range; `429` or `500-599` would be right",
        )),
    }
}

#[cfg(test)]
mod tests;
