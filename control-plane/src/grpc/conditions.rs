//! Conditions of agents as messages.

use hookplane_proto::v1;
use tonic::Status;

use crate::domain::{Connection, Destination, Filter, Source};
use crate::fleet::{Condition, Fleet, Stand, Subject};

/// Agents of one answer; those that refuse or lag come first.
pub(super) const MOST: usize = 255;

/// How the agents concerned stand to a subject.
pub(super) async fn of(
    fleet: &Fleet,
    subject: &Subject,
) -> Result<Vec<v1::AgentCondition>, Status> {
    let mut found = fleet.conditions(subject).await?;
    found.sort_by_key(|one| match one.stand {
        Stand::Refused { .. } => 0,
        Stand::Pending => 1,
        Stand::Applied => 2,
    });
    Ok(found.into_iter().take(MOST).map(message).collect())
}

pub(super) fn of_source(source: &Source) -> Subject {
    Subject {
        pools: vec![source.spec.pool.clone()],
        resources: vec![("source", source.id.clone())],
        revision: source.revision,
    }
}

/// A connection is applied or refused together with its source.
pub(super) fn of_connection(connection: &Connection, source: &Source) -> Subject {
    Subject {
        revision: connection.revision,
        ..of_source(source)
    }
}

pub(super) async fn of_destination(
    fleet: &Fleet,
    destination: &Destination,
) -> Result<Subject, Status> {
    let (team, id) = (&destination.team_id, &destination.id);
    Ok(Subject {
        pools: fleet.config().pools_of_destination(team, id).await?,
        resources: vec![("destination", id.clone())],
        revision: destination.revision,
    })
}

pub(super) async fn of_filter(fleet: &Fleet, filter: &Filter) -> Result<Subject, Status> {
    let (team, id) = (&filter.team_id, &filter.id);
    let (sources, pools) = fleet.config().reach_of_filter(team, id).await?;
    Ok(Subject {
        pools,
        resources: sources.into_iter().map(|id| ("source", id)).collect(),
        revision: filter.revision,
    })
}

pub(super) fn message(condition: Condition) -> v1::AgentCondition {
    let (state, reason, message) = match condition.stand {
        Stand::Applied => (v1::ConditionState::Applied, String::new(), String::new()),
        Stand::Refused { reason, message } => (v1::ConditionState::Refused, reason, message),
        Stand::Pending => (v1::ConditionState::Pending, String::new(), String::new()),
    };
    v1::AgentCondition {
        agent_id: condition.agent.id,
        agent_name: condition.agent.name,
        pool: condition.agent.pool,
        state: state.into(),
        connected: condition.connected,
        revision: condition.agent.revision,
        reason,
        message,
    }
}
