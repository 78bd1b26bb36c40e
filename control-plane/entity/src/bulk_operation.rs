//! Bulk operations of teams.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "bulk_operations")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub team_id: String,
    pub kind: String,
    /// An encoded message of the contract.
    pub selection: Vec<u8>,
    pub rate: i64,
    pub canary: String,
    pub status: String,
    #[sea_orm(column_type = "Text")]
    pub status_reason: String,
    /// Name of the key that asked for it.
    pub requested_by: String,
    /// Of the caller's choice, unique per team; and the hash of what was asked with it.
    pub request_id: Option<String>,
    pub fingerprint: Option<String>,
    pub total: i64,
    #[sea_orm(column_type = "Text")]
    pub skipped_reason: String,
    pub created_at: i64,
    pub updated_at: i64,
    pub finished_at: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
