//! How far a bulk operation came on one agent.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "bulk_shares")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub operation_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub agent_id: String,
    pub after_id: String,
    pub exhausted: bool,
    pub made: i64,
    pub skipped: i64,
    pub queued: i64,
    pub scheduled: i64,
    pub done: i64,
    pub failed: i64,
    pub cancelled: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
