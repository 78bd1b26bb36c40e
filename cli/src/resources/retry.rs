//! The retry rule of a connection: its flags and how it is shown.

use hookplane_client::v1::{RetryRule, RetryStrategy};

use crate::shape::RuleShape;

/// When failed deliveries are tried again, said by flags.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct RetryFlags {
    /// Retries after the first attempt
    #[arg(long, value_name = "COUNT", group = "retry_plan")]
    retry_count: Option<u32>,
    /// How the delays grow: exponential or linear
    #[arg(long, value_name = "STRATEGY", requires = "retry_count")]
    retry_strategy: Option<String>,
    /// Delay before the first retry, in milliseconds
    #[arg(long, value_name = "MILLISECONDS", requires = "retry_count")]
    retry_interval: Option<u64>,
    /// Delay before each retry, in milliseconds: `5000,60000,600000` makes three
    #[arg(
        long,
        value_name = "MILLISECONDS",
        value_delimiter = ',',
        group = "retry_plan"
    )]
    retry_delays: Vec<u64>,
    /// Percent by which a delay may be shorter or longer, 0 to 50
    #[arg(long, value_name = "PERCENT", requires = "retry_plan")]
    retry_jitter: Option<u32>,
    /// Answers that are retried: `429`, `500-599`
    #[arg(
        long,
        value_name = "STATUS",
        requires = "retry_plan",
        value_delimiter = ','
    )]
    retry_on: Vec<String>,
    /// Answers after which there is no other try: `400`, `404-422`
    #[arg(
        long,
        value_name = "STATUS",
        requires = "retry_plan",
        value_delimiter = ','
    )]
    give_up_on: Vec<String>,
}

impl RetryFlags {
    /// The rule that the flags make; `None` when they do not speak of retries.
    pub(super) fn rule(&self) -> Option<RuleShape> {
        let listed = !self.retry_delays.is_empty();
        if self.retry_count.is_none() && !listed {
            return None;
        }
        let list = || "list".to_owned();
        Some(RuleShape::Retry {
            strategy: self.retry_strategy.clone().or(listed.then(list)),
            count: self.retry_count.unwrap_or_default(),
            interval: self.retry_interval,
            response_status_codes: self.retry_on.clone(),
            give_up_status_codes: self.give_up_on.clone(),
            delays: self.retry_delays.clone(),
            jitter_percent: self.retry_jitter,
        })
    }
}

/// The rule in a few words.
pub(super) fn described(rule: &RetryRule) -> String {
    let mut words = match rule.strategy() {
        RetryStrategy::List => {
            let seconds = |millis: &u64| format!("{} s", *millis as f64 / 1_000.0);
            let delays: Vec<String> = rule.delays.iter().map(seconds).collect();
            format!("retry after {}", delays.join(", "))
        }
        _ => format!("retry {} times", rule.count),
    };
    if !rule.give_up_status_codes.is_empty() {
        words.push_str(&format!(", not {}", rule.give_up_status_codes.join(", ")));
    }
    words
}
