//! The deduplicate rule of a connection: its flags and how it is shown.

use hookplane_client::v1::DeduplicateRule;

use crate::shape::RuleShape;

/// Which events are repeats, said by flags.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct DeduplicateFlags {
    /// How long others with the key of an event are its repeats, in milliseconds, at most 30 days
    #[arg(long, value_name = "MILLISECONDS")]
    deduplicate: Option<u64>,
    /// Place whose value belongs to the key: `body.data.id`, `headers.x-id`, `query.id`, `path`, `event_type`,
    /// `body`, `message_id`; may be given several times [default: message_id]
    #[arg(
        long = "deduplicate-by",
        value_name = "PLACE",
        requires = "deduplicate"
    )]
    include_fields: Vec<String>,
}

impl DeduplicateFlags {
    /// The rule that the flags make; `None` when they do not speak of repeats.
    pub(super) fn rule(&self) -> Option<RuleShape> {
        self.deduplicate.map(|window| RuleShape::Deduplicate {
            window,
            include_fields: self.include_fields.clone(),
        })
    }
}

/// The rule in a few words.
pub(super) fn described(rule: &DeduplicateRule) -> String {
    let by = match rule.include_fields.as_slice() {
        [] => "message_id".to_owned(),
        places => places.join(", "),
    };
    let seconds = rule.window as f64 / 1_000.0;
    format!("deduplicate by {by} for {seconds} s")
}
