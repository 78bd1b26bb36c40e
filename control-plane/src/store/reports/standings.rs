//! How agents stand to their destinations: the last word of each, one row per agent and team.

use std::collections::BTreeMap;

use hookplane_entity::destination_standing::{ActiveModel, Column, Entity};
use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, DatabaseTransaction, EntityTrait as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _, Set,
};

use super::super::{StoreError, broken};
use crate::domain::{DestinationState, Millis};

const TABLE: &str = "destination_standings";
/// Agents that one answer tells of.
const MOST: u64 = 255;

/// What one agent said of a team's destinations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub agent_id: String,
    pub reported_at: Millis,
    /// Their `team_id` is left empty: it is the one asked for.
    pub states: Vec<DestinationState>,
}

/// Puts an agent's newest word in place of its older one.
pub(super) async fn replace(
    tx: &DatabaseTransaction,
    agent_id: &str,
    states: &[DestinationState],
    now: Millis,
) -> Result<(), StoreError> {
    let mut teams: BTreeMap<&str, Vec<&DestinationState>> = BTreeMap::new();
    for state in states {
        teams.entry(&state.team_id).or_default().push(state);
    }
    let others = Entity::delete_many()
        .filter(Column::AgentId.eq(agent_id))
        .filter(Column::TeamId.is_not_in(teams.keys().copied()));
    others.exec(tx).await?;
    for (team_id, states) in teams {
        let text =
            serde_json::to_string(&states).map_err(|fault| broken(TABLE, agent_id, fault))?;
        let row = ActiveModel {
            agent_id: Set(agent_id.to_owned()),
            team_id: Set(team_id.to_owned()),
            reported_at: Set(now),
            states: Set(text),
        };
        let newest = OnConflict::columns([Column::AgentId, Column::TeamId])
            .update_columns([Column::ReportedAt, Column::States])
            .to_owned();
        Entity::insert(row)
            .on_conflict(newest)
            .exec_without_returning(tx)
            .await?;
    }
    Ok(())
}

pub(super) async fn of_team(
    db: &impl ConnectionTrait,
    team_id: &str,
) -> Result<Vec<Standing>, StoreError> {
    let rows = Entity::find()
        .filter(Column::TeamId.eq(team_id))
        .order_by_desc(Column::ReportedAt)
        .order_by_asc(Column::AgentId)
        .limit(MOST)
        .all(db)
        .await?;
    let standing = |row: hookplane_entity::destination_standing::Model| {
        let states = serde_json::from_str(&row.states)
            .map_err(|fault| broken(TABLE, &row.agent_id, fault))?;
        Ok(Standing {
            agent_id: row.agent_id,
            reported_at: row.reported_at,
            states,
        })
    };
    rows.into_iter().map(standing).collect()
}
