//! Faults, each with its end.

use std::time::Duration;

use rand::Rng as _;
use rand::rngs::StdRng;

use super::{FAULTY, HEALED, LATER, STEADY};
use crate::configuration::Change;
use crate::history::At;

/// Faults in a run, at most.
const MOST: usize = 6;
pub(crate) const AGENT: &str = "agent";
pub(crate) const CONTROL_PLANE: &str = "control-plane";
pub(crate) const PROVIDER: &str = "provider";

/// Done to the simulation at its time.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    EndAgent(AgentEnd),
    StartAgent,
    EndControlPlane,
    StartControlPlane,
    EndReceiver(&'static str),
    StartReceiver(&'static str),
    /// Nothing of what is sent between the two arrives.
    Part(&'static str, &'static str),
    Repair(&'static str, &'static str),
    /// What is sent between the two arrives later, all at once.
    Hold(&'static str, &'static str),
    Release(&'static str, &'static str),
    /// Every message between the two takes up to so long.
    Delay(&'static str, &'static str, Duration),
    FillDisk,
    FreeDisk,
    /// The next flush fails.
    FailFlush,
    FailWrite,
    /// Writes take so many milliseconds longer.
    SlowDisk(u64),
    Configure(Change),
}

/// How the agent ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AgentEnd {
    /// It is told to, and drains.
    InOrder,
    Killed,
    /// Between two writes.
    PowerCut,
    /// At the so manyth call to the disk from now on, in the middle of it.
    PowerCutWithin(usize),
}

pub(super) fn draw(random: &mut StdRng) -> Vec<(At, Action)> {
    let mut actions = Vec::new();
    let mut agent_is_up_from = 2_000;
    for _ in 0..random.random_range(0..=MOST) {
        let from = random.random_range(1_000..HEALED - 3_000);
        let to = (from + random.random_range(200..5_000)).min(HEALED - 500);
        match random.random_range(0..14) {
            // One end of the agent after the other, each once it is up again.
            0..=3 if agent_is_up_from < HEALED - 4_000 => {
                let from = random.random_range(agent_is_up_from..HEALED - 3_000);
                let to = from + random.random_range(300..2_000);
                agent_is_up_from = to + 1_000;
                actions.push((from, Action::EndAgent(agent_end(random))));
                actions.push((to, Action::StartAgent));
            }
            4 => {
                actions.push((from, Action::EndControlPlane));
                actions.push((to, Action::StartControlPlane));
            }
            5 => {
                actions.push((from, Action::EndReceiver(FAULTY)));
                actions.push((to, Action::StartReceiver(FAULTY)));
            }
            6..=8 => link(random, from, to, &mut actions),
            9 => {
                actions.push((from, Action::FillDisk));
                actions.push((to, Action::FreeDisk));
            }
            10 => match random.random() {
                true => actions.push((from, Action::FailFlush)),
                false => actions.push((from, Action::FailWrite)),
            },
            11 => {
                let by = random.random_range(20..12_000);
                actions.push((from, Action::SlowDisk(by)));
                actions.push((to, Action::SlowDisk(0)));
            }
            _ => configuration(random, from, to, &mut actions),
        }
    }
    actions.sort_by_key(|(at, _)| *at);
    actions
}

fn agent_end(random: &mut StdRng) -> AgentEnd {
    match random.random_range(0..6) {
        0 => AgentEnd::InOrder,
        1 => AgentEnd::Killed,
        2 => AgentEnd::PowerCut,
        _ => AgentEnd::PowerCutWithin(random.random_range(0..8)),
    }
}

fn link(random: &mut StdRng, from: At, to: At, actions: &mut Vec<(At, Action)>) {
    let (a, b) = [
        (AGENT, STEADY),
        (AGENT, FAULTY),
        (AGENT, LATER),
        (AGENT, CONTROL_PLANE),
        (PROVIDER, AGENT),
    ][random.random_range(0..5)];
    match random.random_range(0..3) {
        0 => {
            actions.push((from, Action::Part(a, b)));
            actions.push((to, Action::Repair(a, b)));
        }
        1 => {
            actions.push((from, Action::Hold(a, b)));
            actions.push((to, Action::Release(a, b)));
        }
        _ => {
            let slow = Duration::from_millis(random.random_range(100..2_000));
            actions.push((from, Action::Delay(a, b, slow)));
            actions.push((to, Action::Delay(a, b, crate::world::LATENCY)));
        }
    }
}

fn configuration(random: &mut StdRng, from: At, to: At, actions: &mut Vec<(At, Action)>) {
    match random.random_range(0..4) {
        0 => actions.push((from, Action::Configure(Change::Connect))),
        1 => {
            let path = random.random_range(0..100);
            actions.push((from, Action::Configure(Change::Redirect(path))));
        }
        2 => {
            actions.push((from, Action::Configure(Change::EnableSource(false))));
            actions.push((to, Action::Configure(Change::EnableSource(true))));
        }
        _ => {
            actions.push((from, Action::Configure(Change::EnableDestination(false))));
            actions.push((to, Action::Configure(Change::EnableDestination(true))));
        }
    }
}
