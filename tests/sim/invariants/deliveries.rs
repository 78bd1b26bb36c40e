//! G3 and G11: nothing arrives twice without a reason, and nobody waits for somebody else.

use std::collections::BTreeMap;

use super::stored::describe;
use super::{Evidence, Verdict, broken, of_run};
use crate::history::{At, Fact, Reception};
use crate::plan::STEADY;

/// From stored to arrived at a receiver that does its work at once.
const PROMPT: At = 1_000;

/// G3: what a receiver took arrives again only if the outcome was unknown.
pub(super) fn g3_duplicates_only_where_the_outcome_was_unknown(evidence: &Evidence) -> Verdict {
    let mut last: BTreeMap<(&str, &str), (At, Reception)> = BTreeMap::new();
    for (at, fact) in &evidence.facts {
        let Fact::Arrived {
            receiver,
            event_id,
            reception,
            message,
            ..
        } = fact
        else {
            continue;
        };
        if event_id.is_empty() || message.is_empty() {
            return broken("G3", format!("{receiver} got something without its ids"));
        }
        let before = last.insert((receiver, event_id), (*at, *reception));
        if let Some((first, Reception::Good)) = before
            && !evidence.excuses.outcome_unknown(receiver, first, *at)
        {
            let what = format!("{event_id} was taken by {receiver} at {first} and again at {at}");
            return broken("G3", what);
        }
    }
    Ok(())
}

/// G11: events of a healthy receiver start at once, whatever the others do.
pub(super) fn g11_nobody_waits_for_a_bad_destination(evidence: &Evidence) -> Verdict {
    let events = evidence.events();
    for event in events.filter(|event| event.destination_id == STEADY) {
        let stored = of_run(event.created_at);
        let arrived = evidence.facts.iter().find_map(|(at, fact)| match fact {
            Fact::Arrived { event_id, .. } if *event_id == event.id => Some(*at),
            _ => None,
        });
        let Some(arrived) = arrived else {
            return broken("G2", format!("{} never arrived", describe(event)));
        };
        let late = arrived.saturating_sub(stored) > PROMPT;
        let excuses = &evidence.excuses;
        let excused = || {
            excuses.held_up(STEADY, stored, arrived)
                || excuses.shut_out(STEADY, stored, arrived, failed_tries(evidence, arrived))
        };
        if late && !excused() {
            let what = format!(
                "{} was stored at {stored} and arrived at {arrived}",
                describe(event)
            );
            return broken("G11", what);
        }
    }
    Ok(())
}

/// Tries at the healthy receiver that had failed by then.
fn failed_tries(evidence: &Evidence, by: At) -> usize {
    let tries = evidence.histories.iter().flat_map(|one| &one.attempts);
    let failed = tries.filter(|one| one.destination_id == STEADY && !one.successful);
    failed.filter(|one| of_run(one.started_at) <= by).count()
}
