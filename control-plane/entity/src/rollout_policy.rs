//! Pools whose changes reach a share of the agents first.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "rollout_policies")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub pool: String,
    pub share_percent: i64,
    pub hold_seconds: i64,
    pub max_failure_percent: i64,
    pub updated_at: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
