//! API keys; only their hashes are kept.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "api_keys")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub team_id: String,
    pub name: String,
    pub masked: String,
    /// SHA-256 of the secret, hex.
    #[sea_orm(unique)]
    pub hash: String,
    pub created_at: i64,
    pub revoked_at: Option<i64>,
    /// Names with a space between; null is everything.
    pub scopes: Option<String>,
    pub expires_at: Option<i64>,
    pub last_used_at: Option<i64>,
    pub rate_per_minute: Option<i64>,
    pub max_body_bytes: Option<i64>,
    pub rotated_at: Option<i64>,
    /// Hash of the secret before the last rotation, valid until the time beside it.
    pub previous_hash: Option<String>,
    pub previous_until: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
