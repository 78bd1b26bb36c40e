//! Answers of calls that may be sent again; sealed, because the calls carry secrets.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "remembered_answers")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub team_id: String,
    /// Chosen by the caller.
    #[sea_orm(primary_key, auto_increment = false)]
    pub request_id: String,
    /// Sealed JSON.
    pub answer: Vec<u8>,
    pub created_at: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
