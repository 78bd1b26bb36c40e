//! Changes on their way through a pool.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "rollouts")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub pool: String,
    pub state: String,
    /// What the agents outside the share keep.
    pub base_revision: i64,
    /// The newest change that belongs to it.
    pub revision: i64,
    pub ended_revision: Option<i64>,
    pub share_percent: i64,
    pub hold_seconds: i64,
    pub max_failure_percent: i64,
    /// JSON array of the ids of the agents in the share.
    #[sea_orm(column_type = "Text")]
    pub agents: String,
    pub started_at: i64,
    pub changed_at: i64,
    pub ended_at: Option<i64>,
    #[sea_orm(column_type = "Text")]
    pub reason: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
