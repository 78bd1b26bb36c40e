//! Bulk operations under way: one step after the other, asked of each agent by the replica that leads.
//!
//! Owns the rate, the canary and the end of an operation. Refuses to know what it selects: the agents
//! do. Invariants: a step is written down before the next one is asked for, and a step that is asked
//! for again makes nothing twice, so this process may end at any time; an agent that is away is waited
//! for, but not for ever.

mod verdict;

use std::collections::HashMap;
use std::time::Duration;

use futures::future::join_all;
use hookplane_proto::agent::v1::command_stream_request::Result as Answer;
use hookplane_proto::agent::v1::command_stream_response::Command;
use hookplane_proto::agent::v1::{BulkStepCommand, BulkStepResult, bulk_step_command};
use hookplane_proto::v1;
use prost::Message as _;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{AskError, Fleet};
use crate::domain::Agent;
use crate::domain::bulk::{BulkCounts, BulkKind, BulkOperation, BulkShare, Canary};
use crate::store::StoreError;
use verdict::{verdict, waits_for};

/// Between two steps.
const TURN: Duration = Duration::from_millis(500);
/// Targets of one step on one agent.
const LONGEST_STEP: u32 = 1_000;
/// Of its events that may be queued on an agent at least, however low the rate.
const LEAST_QUEUED: u32 = 100;

/// What an operation may still make, by its rate.
struct Allowance {
    since: Instant,
    targets: f64,
}

/// What one round of questions came to.
#[derive(Default)]
struct Round {
    /// Those that answered, and how they stand now.
    shares: Vec<BulkShare>,
    skipped_reason: Option<String>,
    away: Vec<(Agent, AskError)>,
    progress: bool,
}

/// Until the fleet ends.
pub(super) async fn drive(fleet: &Fleet) {
    let mut turn = interval(TURN);
    turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut allowances = HashMap::new();
    loop {
        turn.tick().await;
        if !fleet.whole.replicas.leads() {
            allowances.clear();
            continue;
        }
        if let Err(error) = drive_all(fleet, &mut allowances).await {
            tracing::warn!(error = %error, "bulk operations do not go on");
        }
    }
}

async fn drive_all(
    fleet: &Fleet,
    allowances: &mut HashMap<String, Allowance>,
) -> Result<(), StoreError> {
    let running = fleet.bulks().running().await?;
    allowances.retain(|id, _| running.iter().any(|one| one.id == *id));
    if running.is_empty() {
        return Ok(());
    }
    let agents = fleet.agents().holders().await?;
    let steps = running.into_iter().map(|operation| {
        let allowed = match operation.canary {
            Canary::None | Canary::Passed => allow(allowances, &operation),
            Canary::Wanted | Canary::Sent => 0,
        };
        let agents = &agents;
        async move {
            if let Err(error) = drive_one(fleet, &operation, agents, allowed).await {
                tracing::warn!(operation = %operation.id, error = %error, "a bulk operation does not go on");
            }
        }
    });
    // Together: one whose agents are slow holds up none of the others for longer than a question takes.
    join_all(steps).await;
    Ok(())
}

/// Targets that may be made now.
fn allow(allowances: &mut HashMap<String, Allowance>, operation: &BulkOperation) -> u32 {
    let now = Instant::now();
    let known = allowances.entry(operation.id.clone());
    let allowance = known.or_insert_with(|| Allowance {
        since: now - TURN,
        targets: 0.0,
    });
    let rate = f64::from(operation.rate);
    let more = (now - allowance.since).as_secs_f64() * rate;
    allowance.since = now;
    // What was not used is not saved up for a burst.
    allowance.targets = (allowance.targets + more).min(rate.max(1.0));
    let whole = allowance.targets.floor();
    allowance.targets -= whole;
    whole as u32
}

async fn drive_one(
    fleet: &Fleet,
    operation: &BulkOperation,
    agents: &[Agent],
    allowed: u32,
) -> Result<(), StoreError> {
    let mut shares = fleet.bulks().shares(&operation.id).await?;
    let round = match operation.canary {
        Canary::Wanted => send_canary(fleet, operation, agents, &shares).await,
        Canary::Sent => ask_all(fleet, operation, agents, &shares, 0).await,
        Canary::None | Canary::Passed => ask_all(fleet, operation, agents, &shares, allowed).await,
    };
    let now = fleet.clock().now_millis();
    let changed: Vec<BulkShare> = round
        .shares
        .iter()
        .filter(|share| !shares.contains(share))
        .cloned()
        .collect();
    if !changed.is_empty() {
        let reason = round.skipped_reason.as_deref();
        fleet
            .bulks()
            .note(&operation.id, &changed, reason, now)
            .await?;
    }
    for share in &round.shares {
        shares.retain(|known| known.agent_id != share.agent_id);
        shares.push(share.clone());
    }
    let becomes = verdict(
        operation,
        agents,
        &shares,
        &round,
        now,
        fleet.whole.timings.absent,
    );
    match becomes {
        Some(becomes) => {
            // Otherwise a person was faster.
            fleet.bulks().turn(operation, &becomes, None).await?;
        }
        None => {
            let reason = waits_for(operation, &shares, &round);
            if reason != operation.status_reason {
                fleet.bulks().explain(&operation.id, &reason).await?;
            }
        }
    }
    Ok(())
}

/// One target, of the first agent that has any.
async fn send_canary(
    fleet: &Fleet,
    operation: &BulkOperation,
    agents: &[Agent],
    shares: &[BulkShare],
) -> Round {
    let mut round = Round::default();
    for agent in agents {
        let before = before(shares, agent);
        if before.exhausted {
            continue;
        }
        // One after the other, so that there is one canary and no more.
        let kind = operation.kind;
        round.take(
            kind,
            before,
            agent,
            ask(fleet, operation, agent, shares, 1).await,
        );
        if round.shares.iter().any(|share| share.counts.made > 0) {
            break;
        }
    }
    round
}

async fn ask_all(
    fleet: &Fleet,
    operation: &BulkOperation,
    agents: &[Agent],
    shares: &[BulkShare],
    allowed: u32,
) -> Round {
    let settled = |agent: &&Agent| {
        let before = before(shares, agent);
        match operation.canary {
            // Only who has the canary is asked about it.
            Canary::Sent => before.counts.made == 0,
            _ => before.exhausted && before.counts.queued == 0,
        }
    };
    let asked: Vec<&Agent> = agents.iter().filter(|agent| !settled(agent)).collect();
    let open = |agent: &&&Agent| !before(shares, agent).exhausted;
    let with_targets = asked.iter().filter(open).count().max(1);
    let (each, mut rest) = (
        allowed as usize / with_targets,
        allowed as usize % with_targets,
    );
    let questions = asked.into_iter().map(|agent| {
        let mut limit = 0;
        if !before(shares, agent).exhausted {
            limit = each + usize::from(rest > 0);
            rest = rest.saturating_sub(1);
        }
        let limit = u32::try_from(limit).unwrap_or(LONGEST_STEP);
        async move { (agent, ask(fleet, operation, agent, shares, limit).await) }
    });
    let mut round = Round::default();
    for (agent, answer) in join_all(questions.collect::<Vec<_>>()).await {
        round.take(operation.kind, before(shares, agent), agent, answer);
    }
    round
}

fn before(shares: &[BulkShare], agent: &Agent) -> BulkShare {
    let known = shares.iter().find(|share| share.agent_id == agent.id);
    known.cloned().unwrap_or_else(|| BulkShare {
        agent_id: agent.id.clone(),
        ..BulkShare::default()
    })
}

async fn ask(
    fleet: &Fleet,
    operation: &BulkOperation,
    agent: &Agent,
    shares: &[BulkShare],
    limit: u32,
) -> Result<BulkStepResult, AskError> {
    let command = BulkStepCommand {
        operation_id: operation.id.clone(),
        selection: selection(operation),
        after_id: before(shares, agent).after_id,
        limit: limit.min(LONGEST_STEP),
        most_queued: operation.rate.max(LEAST_QUEUED),
        count_all: limit == 0,
    };
    let answer = fleet
        .ask(agent, &operation.team_id, Command::BulkStep(command))
        .await?;
    match answer {
        Answer::BulkStep(told) => Ok(told),
        _ => Err(AskError::Mismatch),
    }
}

fn selection(operation: &BulkOperation) -> Option<bulk_step_command::Selection> {
    use bulk_step_command::Selection;
    let bytes = operation.selection.as_slice();
    // What this control plane encoded itself; an agent refuses an operation without one.
    Some(match operation.kind {
        BulkKind::Events => Selection::Events(v1::EventSelection::decode(bytes).ok()?),
        BulkKind::Requests => Selection::Requests(v1::RequestSelection::decode(bytes).ok()?),
    })
}

impl Round {
    fn take(
        &mut self,
        kind: BulkKind,
        before: BulkShare,
        agent: &Agent,
        answer: Result<BulkStepResult, AskError>,
    ) {
        let told = match answer {
            Ok(told) => told,
            Err(why) => {
                self.away.push((agent.clone(), why));
                return;
            }
        };
        let undone = told.queued + told.scheduled + told.failed + told.cancelled;
        let made = before.counts.made + told.made;
        let done = match told.events.checked_sub(undone) {
            Some(done) if told.events > 0 => done,
            // Not counted this time; of each event there is one.
            _ if kind == BulkKind::Events => made.saturating_sub(undone),
            _ => before.counts.done,
        };
        self.progress |= told.made + told.skipped > 0;
        if !told.skipped_reason.is_empty() {
            self.skipped_reason = Some(told.skipped_reason);
        }
        self.shares.push(BulkShare {
            after_id: told.after_id,
            exhausted: before.exhausted || told.exhausted,
            counts: BulkCounts {
                made,
                skipped: before.counts.skipped + told.skipped,
                queued: told.queued,
                scheduled: told.scheduled,
                done,
                failed: told.failed,
                cancelled: told.cancelled,
            },
            ..before
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::bulk::BulkStatus;

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

    #[test]
    fn what_was_not_used_is_not_saved_up() {
        let mut allowances = HashMap::new();
        let one = operation(Canary::None);
        assert_eq!(
            allow(&mut allowances, &one),
            5,
            "half a second at ten per second"
        );
        let held = allowances.get_mut("bch_1").unwrap();
        held.since -= Duration::from_secs(60);
        assert_eq!(allow(&mut allowances, &one), 10);
    }
}
