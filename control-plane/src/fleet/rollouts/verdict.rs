//! What becomes of a rollout, from facts alone.

use std::time::Duration;

use crate::domain::rollout::Rollout;
use crate::domain::{Millis, RefusedResource};
use crate::store::reports::Signals;

/// Fewer of them prove nothing.
const ENOUGH: u64 = 20;
/// Longer than an agent takes to restart.
const LOST_AFTER: Duration = Duration::from_secs(60);

pub(super) struct Facts {
    pub(super) members: Vec<Member>,
    /// Whether an agent outside the share is connected: otherwise it may be
    /// the control plane that agents do not reach.
    pub(super) others_connected: bool,
    /// Since the newest change joined.
    pub(super) held_for: Millis,
    /// The share, since the change.
    pub(super) share: Signals,
    /// The share, before it.
    pub(super) before: Signals,
    /// The rest of the pool, since the change.
    pub(super) others: Signals,
}

/// An agent of the share.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) name: String,
    /// It has all of the rollout.
    pub(super) acknowledged: bool,
    /// It has something of the rollout.
    pub(super) took_some: bool,
    /// Something of the rollout that it refused.
    pub(super) refused: Option<RefusedResource>,
    /// `None` while it is connected.
    pub(super) away_for: Option<Duration>,
}

/// With the reason that people are shown.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Wait(String),
    Promote(String),
    Return(String),
}

pub(super) fn of(rollout: &Rollout, facts: &Facts) -> Verdict {
    if let Some(reason) = fault(rollout, facts) {
        return Verdict::Return(reason);
    }
    let connected = facts.members.iter().filter(|one| one.away_for.is_none());
    if connected.clone().next().is_none() {
        return Verdict::Wait("no agent of the share is connected".to_owned());
    }
    if let Some(behind) = connected.clone().find(|one| !one.acknowledged) {
        return Verdict::Wait(format!("the agent `{}` has not got it yet", behind.name));
    }
    let hold = rollout.policy.hold_seconds;
    if hold == 0 {
        return Verdict::Wait("waits for somebody to promote or return it".to_owned());
    }
    if facts.held_for >= i64::from(hold) * 1_000 {
        return Verdict::Promote(format!(
            "held for {hold} s without a refusal or a rise in failures"
        ));
    }
    Verdict::Wait(format!("holds for {hold} s after the newest change"))
}

fn fault(rollout: &Rollout, facts: &Facts) -> Option<String> {
    for member in &facts.members {
        if let Some(refused) = &member.refused {
            let RefusedResource {
                kind, id, reason, ..
            } = refused;
            return Some(format!(
                "the agent `{}` refused the {kind} {id}: {reason}",
                member.name
            ));
        }
        let lost = member.away_for.is_some_and(|away| away >= LOST_AFTER);
        if member.took_some && lost && facts.others_connected {
            return Some(format!(
                "the agent `{}` went away after it took the change and has not come back",
                member.name
            ));
        }
    }
    let most = u64::from(rollout.policy.max_failure_percent);
    let rejected = |one: &Signals| (one.rejected, one.received);
    let failed = |one: &Signals| (one.failed, one.attempts);
    risen(facts, rejected, most, "requests were rejected")
        .or_else(|| risen(facts, failed, most, "delivery attempts failed"))
}

/// Whether a share of failures lies so many percent points above what it was and is elsewhere.
fn risen(
    facts: &Facts,
    pick: impl Fn(&Signals) -> (u64, u64),
    most: u64,
    what: &str,
) -> Option<String> {
    let percent = |one: &Signals| {
        let (bad, all) = pick(one);
        (all > 0).then(|| bad * 100 / all)
    };
    let (_, all) = pick(&facts.share);
    if all < ENOUGH {
        return None;
    }
    let now = percent(&facts.share)?;
    let usual = percent(&facts.before)
        .max(percent(&facts.others))
        .unwrap_or(0);
    (now >= usual + most)
        .then(|| format!("{now} % of the {what} on the share, {usual} % before or elsewhere"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::rollout::{RolloutPolicy, RolloutState};

    fn rollout(hold_seconds: u32) -> Rollout {
        Rollout {
            id: "rol_1".to_owned(),
            pool: "default".to_owned(),
            state: RolloutState::Holding,
            base_revision: 6,
            revision: 7,
            ended_revision: None,
            policy: RolloutPolicy {
                pool: "default".to_owned(),
                share_percent: 10,
                hold_seconds,
                max_failure_percent: 20,
                updated_at: 0,
            },
            agents: vec!["agt_1".to_owned()],
            started_at: 1,
            changed_at: 1,
            ended_at: None,
            reason: String::new(),
        }
    }

    fn member() -> Member {
        Member {
            name: "edge-1".to_owned(),
            acknowledged: true,
            took_some: true,
            refused: None,
            away_for: None,
        }
    }

    fn facts(member: Member) -> Facts {
        Facts {
            members: vec![member],
            others_connected: true,
            held_for: 59_000,
            share: Signals::default(),
            before: Signals::default(),
            others: Signals::default(),
        }
    }

    fn deliveries(attempts: u64, failed: u64) -> Signals {
        Signals {
            attempts,
            failed,
            ..Signals::default()
        }
    }

    #[test]
    fn it_goes_on_after_the_hold_and_not_before() {
        let mut facts = facts(member());
        assert!(matches!(of(&rollout(60), &facts), Verdict::Wait(_)));
        facts.held_for = 60_000;
        assert!(matches!(of(&rollout(60), &facts), Verdict::Promote(_)));
        assert!(
            matches!(of(&rollout(0), &facts), Verdict::Wait(_)),
            "by hand"
        );
    }

    #[test]
    fn who_has_not_got_it_or_is_away_keeps_it_waiting() {
        let mut facts = facts(Member {
            acknowledged: false,
            ..member()
        });
        facts.held_for = 600_000;
        let Verdict::Wait(reason) = of(&rollout(60), &facts) else {
            panic!("it waits");
        };
        assert!(reason.contains("edge-1"), "{reason}");
        facts.members[0].away_for = Some(Duration::ZERO);
        assert!(matches!(of(&rollout(60), &facts), Verdict::Wait(_)));
    }

    #[test]
    fn an_agent_that_does_not_come_back_with_the_change_returns_it() {
        let mut facts = facts(Member {
            away_for: Some(LOST_AFTER),
            ..member()
        });
        assert!(matches!(of(&rollout(60), &facts), Verdict::Return(_)));
        facts.members[0].took_some = false;
        assert!(
            matches!(of(&rollout(60), &facts), Verdict::Wait(_)),
            "it had gone before"
        );
        facts.members[0].took_some = true;
        facts.others_connected = false;
        assert!(
            matches!(of(&rollout(60), &facts), Verdict::Wait(_)),
            "nobody is connected, so it may be the control plane that is away"
        );
    }

    #[test]
    fn a_rise_of_failures_returns_it_and_a_usual_share_does_not() {
        let mut facts = facts(member());
        facts.share = deliveries(19, 19);
        assert!(
            matches!(of(&rollout(60), &facts), Verdict::Wait(_)),
            "too few"
        );
        facts.share = deliveries(100, 30);
        let Verdict::Return(reason) = of(&rollout(60), &facts) else {
            panic!("it returns");
        };
        assert!(
            reason.starts_with("30 % of the delivery attempts"),
            "{reason}"
        );
        facts.others = deliveries(1_000, 150);
        assert!(
            matches!(of(&rollout(60), &facts), Verdict::Wait(_)),
            "it is so elsewhere"
        );
    }
}
