//! Which faults there were, when and between whom.

use crate::configuration::TIMEOUT_MILLIS;
use crate::history::{At, Fact};
use crate::plan::AGENT;

/// After a fault of a link: connections that lost something hang until they time out, and
/// what waits is tried again.
const AFTERMATH: At = TIMEOUT_MILLIS as At + 2_000;
/// After a fault that opened the circuit of a receiver: the second of its waits, with its jitter, may
/// begin with a probe that the fault still met.
const CIRCUIT: At = AFTERMATH + 12_000;
/// Failed tries without which no circuit opens.
const OPENS_CIRCUIT: usize = 10;

/// Spans of time in which something did not work, with its aftermath.
pub(super) struct Excuses {
    agent: Vec<(At, At)>,
    disk: Vec<(At, At)>,
    /// Between the agent and this host.
    links: Vec<(&'static str, At, At)>,
    receivers: Vec<(&'static str, At, At)>,
    pub(super) agent_ended: bool,
}

impl Excuses {
    pub(super) fn of(facts: &[(At, Fact)]) -> Self {
        let mut excuses = Self {
            agent: Vec::new(),
            disk: Vec::new(),
            links: Vec::new(),
            receivers: Vec::new(),
            agent_ended: false,
        };
        for (place, (from, fact)) in facts.iter().enumerate() {
            let until = |ends: &dyn Fn(&Fact) -> bool| {
                let end = facts[place..].iter().find(|(_, fact)| ends(fact));
                end.map_or(At::MAX - AFTERMATH, |(at, _)| *at)
            };
            match fact {
                Fact::AgentDown(_) => {
                    let to = until(&|fact| matches!(fact, Fact::AgentUp));
                    excuses.agent.push((*from, to));
                    excuses.agent_ended = true;
                }
                Fact::DiskBad(_) => {
                    let to = until(&|fact| matches!(fact, Fact::DiskGood));
                    excuses.disk.push((*from, to));
                }
                Fact::LinkBad(a, b) => {
                    let to = until(&|fact| *fact == Fact::LinkGood(a, b));
                    let other = if *a == AGENT { b } else { a };
                    excuses.links.push((other, *from, to));
                }
                Fact::ReceiverDown(name) => {
                    let to = until(&|fact| *fact == Fact::ReceiverUp(name));
                    excuses.receivers.push((name, *from, to));
                }
                _ => {}
            }
        }
        excuses
    }

    /// Whether an outcome at this receiver may have been lost in this time.
    pub(super) fn outcome_unknown(&self, receiver: &str, from: At, to: At) -> bool {
        // Down, the agent sends nothing: only its end counts.
        let ended = self.agent.iter().any(|(at, _)| (from..=to).contains(at));
        ended || self.unreachable(receiver, from, to)
    }

    /// Whether what happened at first may not have been on disk until then.
    pub(super) fn unwritten(&self, from: At, to: At) -> bool {
        let covers = |(begin, end): &(At, At)| *begin <= to && from <= end + AFTERMATH;
        self.agent.iter().any(covers) || self.disk.iter().any(covers)
    }

    /// Whether something may have held up this receiver's events in this time, other than
    /// another receiver.
    pub(super) fn held_up(&self, receiver: &str, from: At, to: At) -> bool {
        self.unwritten(from, to) || self.unreachable(receiver, from, to)
    }

    /// The same where its circuit may have opened, by so many failed tries.
    pub(super) fn shut_out(&self, receiver: &str, from: At, to: At, failed: usize) -> bool {
        failed >= OPENS_CIRCUIT && self.faulty(receiver, from, to, CIRCUIT)
    }

    fn unreachable(&self, receiver: &str, from: At, to: At) -> bool {
        self.faulty(receiver, from, to, AFTERMATH)
    }

    /// Whether this receiver itself was out of reach, or had been so lately.
    fn faulty(&self, receiver: &str, from: At, to: At, aftermath: At) -> bool {
        let covers = |(name, begin, end): &(&str, At, At)| {
            *name == receiver && *begin <= to && from <= end + aftermath
        };
        self.links.iter().any(covers) || self.receivers.iter().any(covers)
    }
}
