//! `requests`, `events`, `attempts`, `trace`, `tail`: what happened, from the agents' stores.
//!
//! Owns how evidence is asked for and shown. Invariant: an answer that lacks an
//! agent says so on standard error, with the agent's name.

mod attempts;
mod diagnose;
mod events;
mod names;
mod requests;
mod tail;
mod trace;
mod tree;
mod words;

pub(crate) use attempts::{AttemptsVerb, run as attempts};
pub(crate) use diagnose::{DiagnoseArgs, diagnose};
pub(crate) use events::{EventsVerb, run as events};
pub(crate) use names::Names;
pub(crate) use requests::{RequestsVerb, run as requests};
pub(crate) use tail::{TailArgs, tail};
pub(crate) use trace::{TraceArgs, fetch as fetch_trace, trace};
pub(crate) use tree::draw;
pub(crate) use words::HandlerOutcomeArg;

/// The time range of a list.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct RangeArgs {
    /// Start: RFC 3339, or `now-24h` style
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// End: RFC 3339, or `now-5m` style
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
}

impl RangeArgs {
    pub(crate) fn bounds(&self) -> (String, String) {
        (
            self.from.clone().unwrap_or_default(),
            self.to.clone().unwrap_or_default(),
        )
    }
}
