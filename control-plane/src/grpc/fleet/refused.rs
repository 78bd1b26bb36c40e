//! What agents refused, for one team's eyes: agents serve several teams.

use std::collections::HashSet;

use crate::domain::{Agent, RefusedResource};
use crate::store::{ConfigStore, StoreError};

/// Takes out of the agents what belongs to other teams.
pub(in crate::grpc) async fn of_team(
    config: &ConfigStore,
    team: &str,
    agents: &mut [Agent],
) -> Result<(), StoreError> {
    let all = agents.iter().flat_map(|agent| &agent.refused);
    let ids: HashSet<String> = all.map(|one| one.id.clone()).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let ids: Vec<String> = ids.into_iter().collect();
    let mut own: HashSet<String> = HashSet::new();
    own.extend(config.sources_by_id(team, ids.clone()).await?.into_keys());
    own.extend(config.destinations_by_id(team, ids).await?.into_keys());
    let is_own = |one: &RefusedResource| own.contains(&one.id);
    for agent in agents {
        agent.refused.retain(is_own);
    }
    Ok(())
}
