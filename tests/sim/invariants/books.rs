//! G8: the books balance, in the store and in what was reported.

use hookplane_agent::store::{EventStatus, EventTotals};

use super::{Evidence, Verdict, broken};
use crate::control_plane::Sums;
use crate::history::Fact;

/// G8: totals are the sums of their parts, answers and requests agree, reports are counted
/// once and say the same.
pub(super) fn g8_the_books_balance(evidence: &Evidence) -> Verdict {
    if evidence.imbalance != 0 {
        return broken(
            "G8",
            format!("{} events out of balance", evidence.imbalance),
        );
    }
    let counted = count(evidence);
    if counted != evidence.events {
        let totals = evidence.events;
        return broken(
            "G8",
            format!("events are {counted:?}, the totals {totals:?}"),
        );
    }
    if let Some(what) = evidence.broken.first() {
        return broken("G8", what.clone());
    }
    requests(evidence)?;
    reports(evidence)
}

fn count(evidence: &Evidence) -> EventTotals {
    let mut totals = EventTotals::default();
    for event in evidence.events() {
        *match event.status {
            EventStatus::Scheduled => &mut totals.scheduled,
            EventStatus::Queued => &mut totals.queued,
            EventStatus::Hold => &mut totals.hold,
            EventStatus::Successful => &mut totals.successful,
            EventStatus::Failed => &mut totals.failed,
            EventStatus::Cancelled => &mut totals.cancelled,
        } += 1;
    }
    totals
}

/// Each acknowledgement is a first arrival or a repeat; there may be more of both, whose
/// answers were lost.
fn requests(evidence: &Evidence) -> Verdict {
    let acknowledged = evidence
        .facts
        .iter()
        .filter(|(_, fact)| {
            matches!(
                fact,
                Fact::Answered {
                    status: Some(200),
                    ..
                }
            )
        })
        .count() as u64;
    let totals = evidence.requests;
    let accepted = evidence.accepted().count() as u64;
    if accepted != totals.accepted || acknowledged > totals.accepted + totals.repeats {
        let what = format!("{acknowledged} acknowledged, {accepted} kept, totals {totals:?}");
        return broken("G8", what);
    }
    Ok(())
}

/// A life that ends early takes the numbers of its last second with it, never more than there
/// were.
fn reports(evidence: &Evidence) -> Verdict {
    let totals = evidence.requests;
    let attempts = evidence
        .histories
        .iter()
        .map(|one| one.attempts.len() as u64);
    let stored = Sums {
        received: totals.accepted + totals.rejected + totals.repeats,
        accepted: totals.accepted,
        rejected: totals.rejected,
        repeats: totals.repeats,
        attempts: attempts.sum(),
        successful: evidence.events.successful,
    };
    let told = evidence.reported;
    let parts = told.accepted + told.rejected + told.repeats;
    let within = told.accepted <= stored.accepted && told.repeats <= stored.repeats;
    // Refusals are kept up to a quota, and not on a disk that is full.
    let kept = Sums {
        received: told.received - told.rejected + stored.rejected,
        rejected: stored.rejected,
        ..told
    };
    let same = kept == stored && told.rejected >= stored.rejected;
    if told.received != parts || !within || !(same || evidence.excuses.agent_ended) {
        return broken("G8", format!("reported {told:?}, stored {stored:?}"));
    }
    Ok(())
}
