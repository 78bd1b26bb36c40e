//! Which pools a resource concerns.

use hookplane_entity::{connection, connection_filter, source};
use sea_orm::sea_query::SelectStatement;
use sea_orm::{
    ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
    QueryTrait as _,
};

use super::{ConfigStore, StoreError};

/// Most pools, and most sources, of one answer.
const MOST: u64 = 1_000;

impl ConfigStore {
    /// Pools of a team's sources, by name.
    pub async fn pools_of_team(&self, team_id: &str) -> Result<Vec<String>, StoreError> {
        let pools = source::Entity::find()
            .select_only()
            .column(source::Column::Pool)
            .distinct()
            .filter(source::Column::TeamId.eq(team_id))
            .order_by_asc(source::Column::Pool)
            .limit(MOST);
        Ok(pools.into_tuple().all(self.database().read()).await?)
    }

    /// Pools whose agents deliver to a destination.
    pub async fn pools_of_destination(
        &self,
        team_id: &str,
        id: &str,
    ) -> Result<Vec<String>, StoreError> {
        let sources = connection::Entity::find()
            .select_only()
            .column(connection::Column::SourceId)
            .filter(connection::Column::TeamId.eq(team_id))
            .filter(connection::Column::DestinationId.eq(id))
            .into_query();
        self.pools_of(sources).await
    }

    /// Sources whose agents evaluate a filter, and their pools.
    pub async fn reach_of_filter(
        &self,
        team_id: &str,
        id: &str,
    ) -> Result<(Vec<String>, Vec<String>), StoreError> {
        let users = connection_filter::Entity::find()
            .select_only()
            .column(connection_filter::Column::SourceId)
            .filter(connection_filter::Column::FilterId.eq(id))
            .into_query();
        let sources = source::Entity::find()
            .select_only()
            .column(source::Column::Id)
            .filter(source::Column::TeamId.eq(team_id))
            .filter(source::Column::Id.in_subquery(users.clone()))
            .order_by_asc(source::Column::Id)
            .limit(MOST);
        let sources = sources.into_tuple().all(self.database().read()).await?;
        Ok((sources, self.pools_of(users).await?))
    }

    async fn pools_of(&self, sources: SelectStatement) -> Result<Vec<String>, StoreError> {
        let pools = source::Entity::find()
            .select_only()
            .column(source::Column::Pool)
            .distinct()
            .filter(source::Column::Id.in_subquery(sources))
            .order_by_asc(source::Column::Pool)
            .limit(MOST);
        Ok(pools.into_tuple().all(self.database().read()).await?)
    }
}
