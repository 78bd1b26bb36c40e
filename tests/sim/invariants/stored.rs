//! G1 and G2: what was acknowledged is there, and comes to its end.

use std::collections::BTreeSet;

use hookplane_agent::store::journal::JournalStore;
use hookplane_agent::store::{EventRecord, EventStatus, IgnoredReason, Store as _};

use super::{Evidence, Verdict, broken, count_events};
use crate::configuration::{DISABLED, TEAM, connection_id};
use crate::history::{At, Fact, Reception};
use crate::plan::{FAULTY, STEADY};
use crate::store::blocking;

/// G1: every request that a sender was told of is in the store with its branches, after
/// whatever happened.
pub(crate) fn g1_acknowledged_is_stored(facts: &[(At, Fact)], store: &JournalStore) -> Verdict {
    let acknowledged: BTreeSet<(&str, &str)> = facts.iter().filter_map(acknowledged).collect();
    for (message, id) in acknowledged {
        let found = blocking(store.history(TEAM, id)).expect("an answer");
        let Some(history) = found else {
            return broken(
                "G1",
                format!("{id} of {message} was acknowledged and is gone"),
            );
        };
        if history.request.message_id.as_deref() != Some(message) {
            return broken("G1", format!("{id} is not of {message}"));
        }
        for to in [STEADY, FAULTY].map(connection_id) {
            if !history.events.iter().any(|event| event.connection_id == to) {
                return broken("G1", format!("{id} of {message} has lost its branch {to}"));
            }
        }
    }
    Ok(())
}

fn acknowledged((_, fact): &(At, Fact)) -> Option<(&str, &str)> {
    match fact {
        Fact::Answered {
            message,
            status: Some(200),
            request_id,
            ..
        } => Some((message, request_id.as_deref().unwrap_or_default())),
        _ => None,
    }
}

/// G1: what was on disk at rest is there after a power cut, ended as it was.
pub(super) fn g1_what_was_at_rest_is_still_so(
    evidence: &Evidence,
    store: &JournalStore,
) -> Verdict {
    let now = count_events(store);
    if now != evidence.events {
        let before = evidence.events;
        return broken("G1", format!("events were {before:?} and are {now:?}"));
    }
    match blocking(store.imbalance()) {
        Ok(0) => Ok(()),
        other => broken(
            "G8",
            format!("after the last power cut the books: {other:?}"),
        ),
    }
}

/// G2: nothing is pending once all works, what succeeded was taken by its receiver, and what
/// failed was refused for good.
pub(super) fn g2_every_event_ends_and_is_delivered(evidence: &Evidence) -> Verdict {
    for event in evidence.events() {
        let arrivals = || {
            evidence.facts.iter().filter_map(|(_, fact)| match fact {
                Fact::Arrived {
                    event_id,
                    reception,
                    ..
                } if *event_id == event.id => Some(*reception),
                _ => None,
            })
        };
        let name = describe(event);
        match event.status {
            EventStatus::Successful => {
                let taken = |one| matches!(one, Reception::Good | Reception::Slow);
                if !arrivals().any(taken) {
                    return broken("G2", format!("{name} is delivered and never arrived"));
                }
            }
            EventStatus::Failed => {
                if !arrivals().any(|one| one == Reception::Refused(410, None)) {
                    return broken("G2", format!("{name} failed though nobody refused it"));
                }
            }
            EventStatus::Cancelled if was_disabled(evidence, event) => {}
            other => return broken("G2", format!("{name} is {other:?} at the end")),
        }
    }
    Ok(())
}

/// It came while a person had disabled its destination.
fn was_disabled(evidence: &Evidence, event: &EventRecord) -> bool {
    let disables =
        |(_, fact): &(At, Fact)| matches!(fact, Fact::Configured(_, change) if *change == DISABLED);
    event.destination_id == FAULTY
        && event.ignored_reason == Some(IgnoredReason::Disabled)
        && evidence.facts.iter().any(disables)
}

pub(super) fn describe(event: &EventRecord) -> String {
    format!(
        "{} of {} to {}",
        event.id, event.request_id, event.destination_id
    )
}
