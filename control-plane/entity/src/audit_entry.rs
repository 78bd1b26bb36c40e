//! Audit records: one row per change, chained by hashes within a team.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "audit_entries")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub team_id: String,
    /// From 1, without gaps.
    #[sea_orm(primary_key, auto_increment = false)]
    pub sequence: i64,
    pub at: i64,
    pub key_id: String,
    pub key_name: String,
    pub action: String,
    pub resource_kind: String,
    pub resource_id: String,
    pub resource_name: String,
    /// Lineage that the revision belongs to.
    pub epoch: String,
    pub revision: Option<i64>,
    /// 1 when secrets changed, which before and after do not show.
    pub secrets_changed: i64,
    /// JSON, secrets redacted.
    pub before_state: Option<String>,
    pub after_state: Option<String>,
    /// Over all of the above and the hash of the entry before, hex.
    pub hash: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
