//! G4: one message, one request; a resend heals what failed and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use hookplane_agent::store::{EventRecord, EventStatus, RetryKind};

use super::stored::describe;
use super::{Evidence, Verdict, broken, of_run};
use crate::history::Fact;

/// G4: whoever asks gets the first request's id, and there is one accepted request.
pub(super) fn g4_one_message_makes_one_request(evidence: &Evidence) -> Verdict {
    let mut requests: BTreeMap<&str, &str> = BTreeMap::new();
    for history in evidence.accepted() {
        let request = &history.request;
        let Some(message) = request.message_id.as_deref() else {
            return broken("G4", format!("{} has lost its message id", request.id));
        };
        if let Some(other) = requests.insert(message, &request.id) {
            return broken("G4", format!("{message} is {other} and {}", request.id));
        }
        if evidence.forged.iter().any(|forged| forged == message) {
            return broken("G4", format!("{message} is forged and accepted"));
        }
    }
    for (_, fact) in &evidence.facts {
        let Fact::Answered {
            message,
            status: Some(200),
            request_id,
            ..
        } = fact
        else {
            continue;
        };
        let kept = requests.get(message.as_str()).copied();
        if kept != request_id.as_deref() {
            return broken(
                "G4",
                format!("{message} was called {request_id:?} and is kept as {kept:?}"),
            );
        }
    }
    Ok(())
}

/// G4: within a branch each event follows a failed one, by a resend; and a branch that failed
/// before a resend that was acknowledged has another event.
pub(super) fn g4_a_resend_heals_exactly_the_failed_branches(evidence: &Evidence) -> Verdict {
    for history in evidence.accepted() {
        // Who was made again as what; the first of a branch was made by the request itself.
        let mut again: BTreeMap<&str, &EventRecord> = BTreeMap::new();
        let mut branches: BTreeSet<&str> = BTreeSet::new();
        for event in &history.events {
            let first = match &event.retry {
                None => branches.insert(&event.connection_id),
                Some(from) => {
                    let other = again.insert(&from.parent_event_id, event);
                    from.kind == RetryKind::Resend && other.is_none()
                }
            };
            if !first {
                return broken("G4", format!("{} was made once too often", describe(event)));
            }
        }
        for last in &history.events {
            if let Some(next) = again.get(last.id.as_str()) {
                let same = next.connection_id == last.connection_id;
                if last.status != EventStatus::Failed || !same {
                    let what = format!("{} was queued again as {}", describe(last), next.id);
                    return broken("G4", what);
                }
                continue;
            }
            if last.status == EventStatus::Failed && is_resent_after(evidence, last) {
                let what = format!("{} failed, and a resend did not heal it", describe(last));
                return broken("G4", what);
            }
        }
    }
    Ok(())
}

/// A resend began after the event had failed, and was acknowledged.
fn is_resent_after(evidence: &Evidence, event: &EventRecord) -> bool {
    let ended = evidence
        .histories
        .iter()
        .flat_map(|history| &history.attempts)
        .filter(|attempt| attempt.event_id == event.id)
        .filter_map(|attempt| attempt.responded_at)
        .max();
    let failed = of_run(ended.unwrap_or(u64::MAX));
    evidence.facts.iter().any(|(_, fact)| {
        matches!(fact, Fact::Answered { status: Some(200), request_id: Some(id), began, .. }
            if *id == event.request_id
                && *began > failed.saturating_add(WRITTEN)
                && !evidence.excuses.unwritten(failed, *began))
    })
}

/// From the answer of a receiver to its outcome on a disk that works.
const WRITTEN: u64 = 200;
