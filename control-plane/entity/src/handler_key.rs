//! Keys of handlers; only the hash of a key is stored.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "handler_keys")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub team_id: String,
    pub name: String,
    pub masked: String,
    /// SHA-256, hex.
    #[sea_orm(unique)]
    pub hash: String,
    pub created_at: i64,
    pub revoked_at: Option<i64>,
    /// Configuration revision of the last change.
    pub revision: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
