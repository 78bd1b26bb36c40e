//! Questions about evidence: who is asked, and how several answers become one.
//!
//! Owns what requests, events and attempts have in common. Refuses to know what
//! a row means. Invariants: inputs are checked before anyone is asked; an agent
//! that does not answer is named and never left out silently.

pub(super) mod dead_letters;
pub(super) mod merge;
pub(super) mod payload;
pub(super) mod query;
pub(super) mod record;

use hookplane_proto::agent::v1::command_stream_request::Result as Answer;
use hookplane_proto::agent::v1::command_stream_response::Command;
use hookplane_proto::id::{Id, Kind};
use hookplane_proto::v1;
use hookplane_proto::v1::UnreachableAgent;
use tonic::{Code, Status};

use super::status;
use super::status::fleet::{of_agent, unanswered};
use crate::domain::{Agent, Violation};
use crate::fleet::{AskError, Fleet, Gathered};

/// What one kind of answer came to over all agents.
pub(super) struct Collected<T> {
    pub(super) parts: Vec<T>,
    pub(super) unreachable: Vec<UnreachableAgent>,
}

/// Asks every agent that may know something.
pub(super) async fn everyone<T>(
    fleet: &Fleet,
    team_id: &str,
    command: Command,
    pick: fn(Answer) -> Option<T>,
) -> Result<Collected<T>, Status> {
    let gathered = fleet.ask_everyone(team_id, &command).await?;
    collect(gathered, pick)
}

/// Asks only the agent whose store an id names, as a list: unknown means empty.
pub(super) async fn holder_of<T>(
    fleet: &Fleet,
    team_id: &str,
    id: Id,
    command: Command,
    pick: fn(Answer) -> Option<T>,
) -> Result<Collected<T>, Status> {
    let holder = fleet.agents().by_store(id.store()).await?;
    let agents = holder.into_iter().collect();
    collect(fleet.ask_these(agents, team_id, &command).await, pick)
}

/// The newest request of a source, with its payload.
pub(super) async fn newest_of(
    fleet: &Fleet,
    team_id: &str,
    source_id: String,
) -> Result<v1::LatestInput, Status> {
    let command = Command::ListRequests(v1::ListRequestsRequest {
        source_id,
        limit: 1,
        include: "data".to_owned(),
        ..v1::ListRequestsRequest::default()
    });
    let found = everyone(fleet, team_id, command, |answer| match answer {
        Answer::ListRequests(found) => Some(found),
        _ => None,
    })
    .await?;
    let rows = found.parts.into_iter().flat_map(|part| part.models);
    Ok(v1::LatestInput {
        request: rows.max_by(|one, other| one.id.cmp(&other.id)),
        partial: !found.unreachable.is_empty(),
        unreachable: found.unreachable,
    })
}

/// What the one agent that holds something said, if it said anything.
pub(super) enum FromHolder<T> {
    Answered(T),
    Away(Box<(Agent, AskError)>),
}

/// Asks the one agent that holds what an id names; without it there is no answer.
pub(super) async fn one<T>(
    fleet: &Fleet,
    team_id: &str,
    named: (Kind, &str),
    command: Command,
    pick: fn(Answer) -> Option<T>,
) -> Result<T, Status> {
    match from_holder(fleet, team_id, named, command, pick).await? {
        FromHolder::Answered(found) => Ok(found),
        FromHolder::Away(away) => Err(unanswered(&away.0, away.1)),
    }
}

/// Asks the one agent that holds what an id names, where a gap can be part of the answer.
pub(super) async fn from_holder<T>(
    fleet: &Fleet,
    team_id: &str,
    (kind, id): (Kind, &str),
    command: Command,
    pick: fn(Answer) -> Option<T>,
) -> Result<FromHolder<T>, Status> {
    let parsed = Id::parse(kind, id)
        .map_err(|fault| status::invalid(&[Violation::new("id", fault.to_string())]))?;
    let Some(agent) = fleet.agents().by_store(parsed.store()).await? else {
        return Err(status::refused(
            Code::NotFound,
            "RESOURCE_NOT_FOUND",
            format!("there is no `{id}`: no agent ever wrote its store"),
            "list what there is, and check that the id is whole",
        ));
    };
    match fleet.ask(&agent, team_id, command).await {
        Ok(answer) => Ok(match pick(answer) {
            Some(found) => FromHolder::Answered(found),
            None => FromHolder::Away(Box::new((agent, AskError::Mismatch))),
        }),
        Err(error @ AskError::Refused(_)) => Err(unanswered(&agent, error)),
        Err(error) => Ok(FromHolder::Away(Box::new((agent, error)))),
    }
}

/// Adds what one agent counted.
pub(super) fn add(into: &mut u64, more: u64) {
    *into = into.saturating_add(more);
}

fn collect<T>(gathered: Gathered, pick: fn(Answer) -> Option<T>) -> Result<Collected<T>, Status> {
    let mut parts = Vec::new();
    let mut silent = gathered.silent;
    for (agent, answer) in gathered.answers {
        match pick(answer) {
            Some(part) => parts.push(part),
            None => silent.push((agent, AskError::Mismatch)),
        }
    }
    // A question that an agent finds wrong is the caller's to correct, not a gap in the answer.
    for (_, error) in &silent {
        if let AskError::Refused(error) = error
            && Code::from(error.code) == Code::InvalidArgument
        {
            return Err(of_agent(error));
        }
    }
    let unreachable = silent.into_iter().map(unreachable).collect();
    Ok(Collected { parts, unreachable })
}

pub(super) fn unreachable((agent, error): (Agent, AskError)) -> UnreachableAgent {
    UnreachableAgent {
        agent_id: agent.id,
        name: agent.name,
        reason: error.to_string(),
    }
}
