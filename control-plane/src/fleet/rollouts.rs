//! Rollouts under way, judged again and again by the replica that leads.
//!
//! A rollout goes on when its share has had the changes for the whole hold; it
//! returns when an agent of the share refused something, went away with the
//! change, or when more is rejected or fails there than before and elsewhere.

mod verdict;

use std::collections::HashMap;

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::Fleet;
use crate::domain::Millis;
use crate::domain::audit::Actor;
use crate::domain::rollout::Rollout;
use crate::store::StoreError;
use crate::store::reports::{Signals, next_minute};
use crate::store::rollouts::{Judged, ShareMember};
use verdict::{Facts, Member, Verdict};

/// How far back the share's own numbers are compared with.
const BEFORE: Millis = 60 * 60_000;

pub(super) async fn judge(fleet: &Fleet) {
    let mut turn = interval(fleet.whole.timings.judge);
    turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut away = HashMap::new();
    loop {
        turn.tick().await;
        if !fleet.whole.replicas.leads() {
            away.clear();
            continue;
        }
        if let Err(error) = judge_all(fleet, &mut away).await {
            tracing::warn!(error = %error, "rollouts were not judged");
        }
    }
}

/// Since when agents are away.
type Away = HashMap<String, Instant>;

async fn judge_all(fleet: &Fleet, away: &mut Away) -> Result<(), StoreError> {
    let holding = fleet.rollouts().holding().await?;
    if holding.is_empty() {
        away.clear();
    }
    for rollout in holding {
        if let Err(error) = judge_one(fleet, &rollout, away).await {
            tracing::warn!(rollout = %rollout.id, error = %error, "a rollout was not judged");
        }
    }
    Ok(())
}

async fn judge_one(fleet: &Fleet, rollout: &Rollout, away: &mut Away) -> Result<(), StoreError> {
    let now = fleet.clock().now_millis();
    let seen = |at: Millis| if at == 0 { now } else { at };
    let (started_at, changed_at) = (seen(rollout.started_at), seen(rollout.changed_at));
    let members = fleet.rollouts().members(&rollout.agents).await?;
    let epoch = fleet.config().head().await?.epoch;
    let members = members
        .into_iter()
        .map(|member| facts_of(fleet, member, rollout, &epoch, away))
        .collect();
    let facts = Facts {
        members,
        others_connected: others_connected(fleet, &rollout.agents).await?,
        held_for: now - changed_at,
        share: share(fleet, rollout, changed_at, next_minute(now)).await?,
        // The minute of the change belongs to both, so it counts for what came after.
        before: share(fleet, rollout, changed_at - BEFORE, changed_at).await?,
        others: others(fleet, rollout, changed_at, next_minute(now)).await?,
    };
    let rollouts = fleet.rollouts();
    match verdict::of(rollout, &facts) {
        Verdict::Wait(reason) => {
            let known = (rollout.started_at, rollout.changed_at, &rollout.reason);
            if known != (started_at, changed_at, &reason) {
                rollouts
                    .note(judged(rollout, &reason), started_at, changed_at)
                    .await?;
            }
        }
        Verdict::Promote(reason) => {
            if rollouts
                .promote(judged(rollout, &reason), &Actor::system(), now)
                .await?
            {
                tracing::info!(rollout = %rollout.id, pool = %rollout.pool, reason, "a rollout goes to every agent");
            }
        }
        Verdict::Return(reason) => {
            if rollouts
                .give_back(judged(rollout, &reason), &Actor::system(), now)
                .await?
            {
                tracing::warn!(rollout = %rollout.id, pool = %rollout.pool, reason, "a rollout was returned");
            }
        }
    }
    Ok(())
}

/// A change that joined since it was read is judged the next time.
fn judged<'a>(rollout: &'a Rollout, reason: &'a str) -> Judged<'a> {
    Judged {
        id: &rollout.id,
        revision: rollout.revision,
        reason,
    }
}

fn facts_of(
    fleet: &Fleet,
    member: ShareMember,
    rollout: &Rollout,
    epoch: &str,
    away: &mut Away,
) -> Member {
    let whole = &fleet.whole;
    let elsewhere = member.stream_replica.as_deref();
    let elsewhere = elsewhere.is_some_and(|id| whole.replicas.other(id).is_some());
    let connected = elsewhere || whole.configuration.open.get(&member.id).is_some();
    let away_for = if connected {
        away.remove(&member.id);
        None
    } else {
        let since = away.entry(member.id.clone()).or_insert_with(Instant::now);
        Some(since.elapsed())
    };
    let mut refused = member.refused.into_iter();
    Member {
        acknowledged: member.epoch == epoch && member.revision >= rollout.revision,
        took_some: member.epoch == epoch && member.revision > rollout.base_revision,
        // What an agent of an earlier release cannot use is no fault of the change.
        refused: refused.find(|one| one.version > rollout.base_revision && !one.unsent),
        name: member.name,
        away_for,
    }
}

async fn others_connected(fleet: &Fleet, share: &[String]) -> Result<bool, StoreError> {
    let whole = &fleet.whole;
    if whole.configuration.open.has_other_than(share) {
        return Ok(true);
    }
    let living = whole.replicas.others().into_iter().map(|one| one.id);
    let rollouts = fleet.rollouts();
    rollouts.others_connected(share, living.collect()).await
}

async fn share(
    fleet: &Fleet,
    rollout: &Rollout,
    from: Millis,
    until: Millis,
) -> Result<Signals, StoreError> {
    let reports = fleet.report_store();
    reports.signals(&rollout.agents, from, until).await
}

/// The agents of the pool that a rollout leaves out.
async fn others(
    fleet: &Fleet,
    rollout: &Rollout,
    from: Millis,
    until: Millis,
) -> Result<Signals, StoreError> {
    let pool = fleet.agents().of_pool(&rollout.pool).await?;
    let others: Vec<String> = pool
        .into_iter()
        .filter(|id| !rollout.agents.contains(id))
        .collect();
    fleet.report_store().signals(&others, from, until).await
}
