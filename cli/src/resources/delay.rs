//! The delay rule of a connection: its flags and how it is shown.

use hookplane_client::v1::DelayRule;

use crate::shape::RuleShape;

/// When events are first sent, said by flags.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct DelayFlags {
    /// How long after its request an event is first sent, in milliseconds, at most 30 days
    #[arg(long, value_name = "MILLISECONDS", group = "delay_plan")]
    delay: Option<u64>,
    /// Where in the body the time stands at which an event is first sent: `data.send_at`
    #[arg(long, value_name = "PATH", group = "delay_plan")]
    delay_until: Option<String>,
}

impl DelayFlags {
    /// The rule that the flags make; `None` when they do not speak of delays.
    pub(super) fn rule(&self) -> Option<RuleShape> {
        let said = self.delay.is_some() || self.delay_until.is_some();
        said.then(|| RuleShape::Delay {
            delay: self.delay,
            until: self.delay_until.clone(),
        })
    }
}

/// The rule in a few words.
pub(super) fn described(rule: &DelayRule) -> String {
    match (rule.delay, rule.until.as_deref()) {
        (_, Some(path)) => format!("delay until body.{path}"),
        (Some(millis), None) => format!("delay {} s", millis as f64 / 1_000.0),
        (None, None) => "delay".to_owned(),
    }
}
