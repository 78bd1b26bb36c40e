//! What was attempted, per minute, agent and destination.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "destination_minutes")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub minute: i64,
    #[sea_orm(primary_key, auto_increment = false)]
    pub agent_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub destination_id: String,
    pub team_id: String,
    pub attempts: i64,
    pub successful: i64,
    pub failed: i64,
    /// Encoded histogram, microseconds.
    pub latency: Vec<u8>,
    /// Encoded histograms, microseconds; none in rows of the first release.
    pub start_delay: Option<Vec<u8>>,
    pub delivered_after: Option<Vec<u8>>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
