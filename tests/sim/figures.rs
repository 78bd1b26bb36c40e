//! How much of what happened, over all runs: a simulation that never fails anything shows
//! nothing, so this says what it went through.

use std::collections::BTreeMap;
use std::fmt;

use crate::history::{Fact, Reception};
use crate::world::Outcome;

#[derive(Default)]
pub(crate) struct Figures(BTreeMap<&'static str, u64>);

impl Figures {
    pub(crate) fn add(&mut self, outcome: &Outcome) {
        for (_, fact) in outcome.history.facts() {
            if let Some(name) = name(&fact) {
                *self.0.entry(name).or_default() += 1;
            }
        }
        *self.0.entry("simulated seconds").or_default() += outcome.simulated.as_secs();
    }
}

/// What any fair number of runs has to have gone through.
const USUAL: [&str; 9] = [
    "acknowledged",
    "delivered",
    "delivery refused",
    "delivery unanswered",
    "bad links",
    "disk faults",
    "receiver down",
    "configuration changes",
    "control plane down",
];

impl Figures {
    /// What never happened, though it should have.
    pub(crate) fn missing(&self) -> Vec<&'static str> {
        let mut usual = USUAL.to_vec();
        usual.retain(|name| !self.0.contains_key(name));
        usual
    }
}

fn name(fact: &Fact) -> Option<&'static str> {
    Some(match fact {
        Fact::Answered { status, .. } => match status {
            Some(200) => "acknowledged",
            Some(503) => "answered 503",
            Some(403) => "answered 403",
            Some(401) => "answered 401",
            Some(_) => "answered otherwise",
            None => "never answered",
        },
        Fact::Arrived { reception, .. } => match reception {
            Reception::Good => "delivered",
            Reception::Slow => "delivered slowly",
            Reception::Refused(..) => "delivery refused",
            Reception::Hung | Reception::Cut => "delivery unanswered",
        },
        Fact::AgentDown(how) => how,
        Fact::NotStarted(_) => "starts that failed",
        Fact::LinkBad(..) => "bad links",
        Fact::DiskBad(_) => "disk faults",
        Fact::ReceiverDown(_) => "receiver down",
        Fact::Configured(..) => "configuration changes",
        Fact::ControlPlaneDown => "control plane down",
        Fact::AgentUp
        | Fact::LinkGood(..)
        | Fact::DiskGood
        | Fact::ReceiverUp(_)
        | Fact::ControlPlaneUp => return None,
    })
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.0.iter().map(|(name, count)| format!("{name} {count}"));
        f.write_str(&parts.collect::<Vec<_>>().join(", "))
    }
}
