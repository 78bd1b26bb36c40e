//! What follows an attempt: done, another try at a computed time, or the end.
//!
//! The decision is a pure function of policy, history, outcome and a random draw;
//! waiting is the caller's. How a policy is written and checked is in `retry/spec.rs`,
//! lists of statuses in `retry/statuses.rs`.

mod spec;
mod statuses;

use std::time::Duration;

pub use spec::{RetrySpec, Strategy};
use statuses::Statuses;

/// After a timeout or 429 the default schedule waits at least this long.
const RELIEF: Duration = Duration::from_secs(60);
/// Eight tries over about 28 hours, as the providers themselves do it.
const DEFAULT_DELAYS_S: [u64; 7] = [5, 300, 1_800, 7_200, 18_000, 36_000, 36_000];
const MAX_DELAY_MS: u64 = 24 * 60 * 60 * 1_000;
/// Unless the policy says otherwise, in percent of the delay to either side.
const DEFAULT_JITTER: u32 = 20;

/// When failed deliveries of a connection are tried again.
#[derive(Clone, Debug, PartialEq)]
pub struct RetryPolicy {
    schedule: Schedule,
    jitter_percent: u32,
    /// Empty: every answer but 2xx and 410 is retried.
    retried: Statuses,
    /// Stronger than `retried`.
    given_up: Statuses,
}

/// What came before the decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Attempts so far, with the one that just ended.
    pub attempts_made: u32,
    /// Replaces the policy's number of retries, 0 for a manual try for example.
    pub retries_allowed_override: Option<u32>,
}

/// What a receiver says about further deliveries (`webhook-delivery`, Standard Webhooks).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryControl {
    /// No more tries of this message.
    AbortMessage,
    /// The receiver wants nothing any more. Told to people; they decide, the policy goes on.
    Disable,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Answered {
        status: u16,
        retry_after: Option<Duration>,
        control: Option<DeliveryControl>,
    },
    NoAnswer {
        /// `timeout`, `connect_refused`, …
        code: String,
        /// Trying again cannot help: the address is refused by policy, for example.
        permanent: bool,
    },
    /// Answered well, and said that the work is not done.
    Unfinished {
        /// In words.
        reason: String,
        /// Whether another try was asked for.
        retry: bool,
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
    /// One delay per retry.
    Listed(Vec<u64>),
}

/// Why another try may follow: its cause in words and what it asks for.
struct Cause {
    text: String,
    asked: Option<Duration>,
    relief: bool,
}

impl DeliveryControl {
    /// From the value of the header; an unknown one says nothing.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        match value.trim().to_ascii_lowercase().as_str() {
            "abort-message" => Some(Self::AbortMessage),
            "disable" => Some(Self::Disable),
            _ => None,
        }
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            schedule: Schedule::Default,
            jitter_percent: DEFAULT_JITTER,
            retried: Statuses::default(),
            given_up: Statuses::default(),
        }
    }
}

impl RetryPolicy {
    /// Decides after an attempt. `draw` is a random number from 0 to 1 for the jitter.
    #[must_use]
    pub fn decide(&self, history: &History, outcome: &Outcome, draw: f64) -> Decision {
        let cause = match self.cause(outcome) {
            Ok(cause) => cause,
            Err(end) => return end,
        };
        let retries = history.retries_allowed_override.unwrap_or(self.retries());
        let done = history.attempts_made.saturating_sub(1);
        if done >= retries {
            let attempts = history.attempts_made;
            let text = cause.text;
            return give_up(format!("{text}; no retries left after {attempts} attempts"));
        }
        let mut scheduled = jittered(self.delay(done), self.jitter_percent, draw);
        if cause.relief && self.schedule == Schedule::Default {
            scheduled = scheduled.max(RELIEF);
        }
        // The receiver may ask for more time, up to twice ours, never for less.
        let asked = cause.asked;
        let after = asked.map_or(scheduled, |asked| asked.clamp(scheduled, scheduled * 2));
        let because = if after > scheduled {
            ", Retry-After honoured"
        } else {
            ""
        };
        Decision::Retry {
            after,
            reason: format!("{}; retry {} of {retries}{because}", cause.text, done + 1),
        }
    }

    /// What speaks for another try, or the decision against one.
    fn cause(&self, outcome: &Outcome) -> Result<Cause, Decision> {
        match outcome {
            Outcome::Answered {
                status: 200..=299, ..
            } => Err(Decision::Succeeded),
            Outcome::Answered {
                control: Some(DeliveryControl::AbortMessage),
                ..
            } => Err(give_up("the receiver asked for no more tries".into())),
            Outcome::Answered { status: 410, .. } => {
                Err(give_up("answered 410: the receiver is gone".into()))
            }
            Outcome::Answered {
                status,
                retry_after,
                control,
            } => {
                if self.given_up.contains(*status) {
                    let text = format!("answered {status}, after which the policy gives up");
                    return Err(give_up(text));
                }
                if !self.retried.is_empty() && !self.retried.contains(*status) {
                    let text = format!("answered {status}, which the policy does not retry");
                    return Err(give_up(text));
                }
                let wish = match control {
                    Some(DeliveryControl::Disable) => " and asked to be disabled",
                    _ => "",
                };
                Ok(Cause {
                    text: format!("answered {status}{wish}"),
                    asked: *retry_after,
                    relief: *status == 429,
                })
            }
            Outcome::NoAnswer {
                code,
                permanent: true,
            } => Err(give_up(format!("{code}: another try cannot help"))),
            Outcome::NoAnswer {
                code,
                permanent: false,
            } => Ok(Cause {
                text: code.clone(),
                asked: None,
                relief: code == "timeout",
            }),
            Outcome::Unfinished {
                reason,
                retry: false,
            } => Err(give_up(reason.clone())),
            Outcome::Unfinished {
                reason,
                retry: true,
            } => Ok(Cause {
                text: format!("{reason} and asked for another try"),
                asked: None,
                relief: false,
            }),
        }
    }

    fn retries(&self) -> u32 {
        match &self.schedule {
            Schedule::Default => DEFAULT_DELAYS_S.len() as u32,
            Schedule::Computed { count, .. } => *count,
            Schedule::Listed(delays) => delays.len() as u32,
        }
    }

    /// Before jitter; `done` retries were made already.
    fn delay(&self, done: u32) -> Duration {
        let at = |last: usize| (done as usize).min(last);
        let millis = match &self.schedule {
            Schedule::Default => DEFAULT_DELAYS_S[at(DEFAULT_DELAYS_S.len() - 1)] * 1_000,
            // An override may allow more retries than there are delays: the last one goes on.
            Schedule::Listed(delays) => match delays.len() {
                0 => DEFAULT_DELAYS_S[at(DEFAULT_DELAYS_S.len() - 1)] * 1_000,
                length => delays[at(length - 1)],
            },
            Schedule::Computed {
                strategy: Strategy::Linear,
                interval_ms,
                ..
            } => interval_ms.saturating_mul(u64::from(done) + 1),
            Schedule::Computed { interval_ms, .. } => {
                interval_ms.saturating_mul(1_u64.checked_shl(done).unwrap_or(u64::MAX))
            }
        };
        Duration::from_millis(millis.min(MAX_DELAY_MS))
    }
}

fn give_up(reason: String) -> Decision {
    Decision::GiveUp { reason }
}

fn jittered(delay: Duration, percent: u32, draw: f64) -> Duration {
    let draw = if draw.is_finite() {
        draw.clamp(0.0, 1.0)
    } else {
        0.5
    };
    let share = f64::from(percent) / 100.0;
    delay.mul_f64(1.0 - share + 2.0 * share * draw)
}

#[cfg(test)]
mod tests;
