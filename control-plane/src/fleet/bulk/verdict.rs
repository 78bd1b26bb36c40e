//! What a round of questions means for an operation: whether it goes on, waits, or has ended.
//!
//! Pure. Invariant: an operation ends by itself only when every agent that can be asked is through,
//! and what was made there was tried.

use std::time::Duration;

use super::Round;
use crate::domain::bulk::{BulkCounts, BulkOperation, BulkShare, BulkStatus, Canary};
use crate::domain::{Agent, Millis};

/// How an operation stands after a round, if that is another way than before.
pub(super) fn verdict(
    operation: &BulkOperation,
    agents: &[Agent],
    shares: &[BulkShare],
    round: &Round,
    now: Millis,
    absent: Duration,
) -> Option<BulkOperation> {
    let sum = shares
        .iter()
        .fold(BulkCounts::default(), |sum, share| sum.and(share.counts));
    let with = |canary, status, reason: &str| BulkOperation {
        canary,
        status,
        status_reason: reason.to_owned(),
        updated_at: now,
        finished_at: (status == BulkStatus::Completed).then_some(now),
        ..operation.clone()
    };
    match operation.canary {
        Canary::Wanted if sum.made > 0 => {
            return Some(with(Canary::Sent, BulkStatus::Running, CANARY_SENT));
        }
        Canary::Sent if sum.queued + sum.scheduled == 0 && round.away.is_empty() => {
            return Some(if sum.failed + sum.cancelled == 0 {
                with(Canary::Passed, BulkStatus::Running, "")
            } else {
                with(Canary::Sent, BulkStatus::Paused, CANARY_FAILED)
            });
        }
        _ => {}
    }
    let open = |agent: &&Agent| {
        let own = shares.iter().find(|share| share.agent_id == agent.id);
        own.is_none_or(|share| !share.exhausted || share.counts.queued > 0)
    };
    let open: Vec<&Agent> = agents.iter().filter(open).collect();
    if open.is_empty() {
        return Some(with(operation.canary, BulkStatus::Completed, ""));
    }
    // Only those that are away are open, and nothing has happened for long.
    let away = |agent: &&Agent| round.away.iter().any(|(away, _)| away.id == agent.id);
    let quiet = now.saturating_sub(operation.updated_at);
    let waited = i64::try_from(absent.as_millis()).unwrap_or(i64::MAX);
    if open.iter().all(away) && !round.progress && quiet >= waited {
        let names: Vec<&str> = open.iter().map(|agent| agent.name.as_str()).collect();
        let reason = format!(
            "without what these agents hold, which were away: {}; begin another operation when they are back",
            names.join(", ")
        );
        return Some(with(operation.canary, BulkStatus::Completed, &reason));
    }
    None
}

const CANARY_SENT: &str = "the canary was sent; the rest follows when it has succeeded";
const CANARY_FAILED: &str =
    "the canary did not succeed: look at it, then resume to send the rest, or cancel";

/// Why a running operation stands still, if it does.
pub(super) fn waits_for(operation: &BulkOperation, shares: &[BulkShare], round: &Round) -> String {
    if operation.canary == Canary::Sent {
        return CANARY_SENT.to_owned();
    }
    if let Some((agent, why)) = round.away.first() {
        let others = round.away.len() - 1;
        let more = if others > 0 {
            format!(" and {others} more")
        } else {
            String::new()
        };
        return format!("waits for {}{more}: {why}", agent.name);
    }
    let queued: u64 = shares.iter().map(|share| share.counts.queued).sum();
    if !round.progress && queued > 0 {
        return "waits until what it made is sent: is the destination slow, or the connection paused?"
            .to_owned();
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::bulk::BulkKind;
    use crate::fleet::AskError;

    fn agent(id: &str) -> Agent {
        Agent {
            id: id.to_owned(),
            name: id.to_owned(),
            ..Agent::default()
        }
    }

    fn operation(canary: Canary) -> BulkOperation {
        BulkOperation {
            id: "bch_1".into(),
            team_id: "tm_1".into(),
            kind: BulkKind::Events,
            selection: Vec::new(),
            rate: 10,
            canary,
            status: BulkStatus::Running,
            status_reason: String::new(),
            requested_by: "key".into(),
            total: 9,
            counts: BulkCounts::default(),
            skipped_reason: String::new(),
            created_at: 1_000,
            updated_at: 1_000,
            finished_at: None,
        }
    }

    fn share(agent: &str, exhausted: bool, counts: BulkCounts) -> BulkShare {
        BulkShare {
            agent_id: agent.to_owned(),
            exhausted,
            counts,
            ..BulkShare::default()
        }
    }

    const ABSENT: Duration = Duration::from_secs(60);

    fn judged(canary: Canary, shares: &[BulkShare], round: &Round) -> Option<BulkOperation> {
        let agents = [agent("a"), agent("b")];
        verdict(&operation(canary), &agents, shares, round, 100_000, ABSENT)
    }

    #[test]
    fn the_rest_follows_a_canary_that_succeeded_and_waits_for_a_person_after_one_that_failed() {
        let one = |counts| vec![share("a", false, counts)];
        let sent = BulkCounts {
            made: 1,
            queued: 1,
            ..BulkCounts::default()
        };
        let round = Round::default();
        let becomes = judged(Canary::Wanted, &one(sent), &round).unwrap();
        assert_eq!(becomes.canary, Canary::Sent);
        assert_eq!(
            judged(Canary::Sent, &one(sent), &round),
            None,
            "it has not ended"
        );
        let done = BulkCounts {
            queued: 0,
            done: 1,
            ..sent
        };
        let becomes = judged(Canary::Sent, &one(done), &round).unwrap();
        assert_eq!(
            (becomes.canary, becomes.status),
            (Canary::Passed, BulkStatus::Running)
        );
        let failed = BulkCounts {
            queued: 0,
            failed: 1,
            ..sent
        };
        let becomes = judged(Canary::Sent, &one(failed), &round).unwrap();
        assert_eq!(
            (becomes.canary, becomes.status),
            (Canary::Sent, BulkStatus::Paused)
        );
    }

    #[test]
    fn it_is_complete_when_every_agent_is_through_and_everything_was_tried() {
        let queued = BulkCounts {
            queued: 1,
            ..BulkCounts::default()
        };
        let through = share("a", true, BulkCounts::default());
        let round = Round::default();
        let waiting = [through.clone(), share("b", true, queued)];
        assert_eq!(judged(Canary::None, &waiting, &round), None);
        let all = [through, share("b", true, BulkCounts::default())];
        let becomes = judged(Canary::None, &all, &round).unwrap();
        assert_eq!(becomes.status, BulkStatus::Completed);
        assert_eq!(becomes.finished_at, Some(100_000));
    }

    #[test]
    fn an_agent_that_stays_away_is_named_and_does_not_keep_it_open_for_ever() {
        let shares = [share("a", true, BulkCounts::default())];
        let away = || Round {
            away: vec![(agent("b"), AskError::Away)],
            ..Round::default()
        };
        let becomes = judged(Canary::None, &shares, &away()).unwrap();
        assert_eq!(becomes.status, BulkStatus::Completed);
        assert!(
            becomes.status_reason.contains('b'),
            "{}",
            becomes.status_reason
        );
        let busy = Round {
            progress: true,
            ..away()
        };
        assert_eq!(judged(Canary::None, &shares, &busy), None);
        let told = waits_for(&operation(Canary::None), &shares, &away());
        assert!(told.starts_with("waits for b"), "{told}");
    }
}
