//! Enrolled agents and what they said last.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "agents")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    #[sea_orm(unique)]
    pub name: String,
    pub pool: String,
    /// Number of its store, from 1.
    #[sea_orm(unique)]
    pub store: i32,
    /// SHA-256 of its credential, hex.
    #[sea_orm(unique)]
    pub credential_hash: String,
    pub version: String,
    pub created_at: i64,
    pub epoch: String,
    pub revision: i64,
    pub digest: String,
    /// JSON array of refused resources.
    #[sea_orm(column_type = "Text")]
    pub refused: String,
    pub connected_at: Option<i64>,
    pub last_seen_at: Option<i64>,
    pub backlog: i64,
    /// JSON array of what it said it can do.
    #[sea_orm(column_type = "Text", nullable)]
    pub capabilities: Option<String>,
    /// The replica that has its configuration stream, and its command stream.
    pub stream_replica: Option<String>,
    pub commands_replica: Option<String>,
    /// Since when it holds something else than it acknowledged.
    pub drifted_at: Option<i64>,
    pub revoked_at: Option<i64>,
    /// SHA-256 of the public key that its certificates are for, hex.
    pub certificate_key: Option<String>,
    /// End of its newest certificate.
    pub certificate_expires_at: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
