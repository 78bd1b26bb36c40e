//! What became of a run of webhooks, in numbers.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokio::time::Duration;

use super::post::Answer;
use crate::output::{count, millis};

/// Request ids kept for the JSON answer.
const KEPT_IDS: usize = 1000;

/// Sums over all answers.
#[derive(Default)]
pub(super) struct Summary {
    accepted: u64,
    refused: BTreeMap<String, u64>,
    /// Microseconds; a run is bounded, so is this.
    latencies: Vec<u32>,
    request_ids: Vec<String>,
    elapsed: Duration,
}

impl Summary {
    pub(super) fn add(&mut self, answer: Answer) {
        if answer.accepted {
            self.accepted += 1;
        } else {
            *self.refused.entry(answer.outcome).or_default() += 1;
        }
        self.latencies
            .push(u32::try_from(answer.latency.as_micros()).unwrap_or(u32::MAX));
        if self.request_ids.len() < KEPT_IDS {
            self.request_ids.extend(answer.request_id);
        }
    }

    pub(super) fn end(&mut self, elapsed: Duration) {
        self.elapsed = elapsed;
        self.latencies.sort_unstable();
    }

    pub(super) fn sent(&self) -> u64 {
        self.latencies.len() as u64
    }

    pub(super) fn not_accepted(&self) -> u64 {
        self.sent() - self.accepted
    }

    pub(super) fn all_accepted(&self) -> bool {
        self.not_accepted() == 0
    }

    pub(super) fn request_ids(&self) -> &[String] {
        &self.request_ids
    }

    /// What to do next, by the most frequent refusal.
    pub(super) fn hint(&self) -> String {
        let most = self.refused.iter().max_by_key(|(_, times)| **times);
        let outcome = most
            .map(|(outcome, _)| outcome.as_str())
            .unwrap_or_default();
        let hint = match outcome.split(' ').next().unwrap_or_default() {
            "401" => {
                "is --secret the one of the source? `hookplane requests list --status rejected` has the reason"
            }
            "404" => {
                "the agent knows no such source; check --url, or wait until it holds the newest revision (`hookplane status`)"
            }
            "403" => "the source is disabled; `hookplane sources enable` lets it take part again",
            "405" => "the source does not allow POST; see `hookplane sources get`",
            "413" => "the body is larger than the source allows",
            "429" | "503" => "the agent takes no more for now; send slower with --rate",
            _ => "does the agent run, and is the address right?",
        };
        hint.to_owned()
    }

    fn quantile(&self, share: f64) -> f64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a place in a list, cut to its bounds"
        )]
        let place = (share * self.latencies.len() as f64).ceil() as usize;
        let found = self
            .latencies
            .get(place.saturating_sub(1))
            .or(self.latencies.last());
        found.map_or(0.0, |micros| f64::from(*micros) / 1000.0)
    }

    fn per_second(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
        let sent = self.sent() as f64;
        sent / self.elapsed.as_secs_f64().max(1e-6)
    }

    pub(super) fn values(&self, url: &str) -> Vec<(&'static str, String)> {
        let mut refused = String::new();
        for (outcome, times) in &self.refused {
            if !refused.is_empty() {
                refused.push('\n');
            }
            refused.push_str(&format!("{} {outcome}", count(*times)));
        }
        let mut values = vec![
            ("to", url.to_owned()),
            ("sent", count(self.sent())),
            ("accepted", count(self.accepted)),
            ("refused", refused),
            (
                "latency",
                format!(
                    "p50 {}, p99 {}",
                    millis(self.quantile(0.5)),
                    millis(self.quantile(0.99))
                ),
            ),
        ];
        if self.sent() == 1 {
            values.push((
                "request",
                self.request_ids.first().cloned().unwrap_or_default(),
            ));
        } else {
            values.push((
                "rate",
                format!(
                    "{:.1}/s over {:.1} s",
                    self.per_second(),
                    self.elapsed.as_secs_f64()
                ),
            ));
        }
        values
    }

    pub(super) fn to_json(&self, url: &str) -> Value {
        json!({
            "url": url,
            "sent": self.sent(),
            "accepted": self.accepted,
            "refused": self.refused,
            "latency_p50_ms": self.quantile(0.5),
            "latency_p99_ms": self.quantile(0.99),
            "elapsed_seconds": self.elapsed.as_secs_f64(),
            "per_second": self.per_second(),
            "request_ids": self.request_ids,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(outcome: &str, millis: u64) -> Answer {
        Answer {
            accepted: outcome == "200",
            outcome: outcome.to_owned(),
            request_id: None,
            latency: Duration::from_millis(millis),
        }
    }

    #[test]
    fn refusals_are_counted_by_code_and_latencies_by_rank() {
        let mut summary = Summary::default();
        for millis in 1..=99 {
            summary.add(answer("200", millis));
        }
        summary.add(answer("401 SOURCE_AUTH_FAILED", 500));
        summary.end(Duration::from_secs(1));
        assert_eq!((summary.sent(), summary.not_accepted()), (100, 1));
        assert_eq!(summary.refused["401 SOURCE_AUTH_FAILED"], 1);
        assert_eq!(
            (summary.quantile(0.5), summary.quantile(0.99)),
            (50.0, 99.0)
        );
        assert!(summary.hint().contains("--secret"), "{}", summary.hint());
    }
}
