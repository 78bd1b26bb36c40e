//! Authorities that sign agents' certificates.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "agent_authorities")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// PEM.
    #[sea_orm(column_type = "Text")]
    pub certificate: String,
    /// Sealed private key.
    pub private_key: Vec<u8>,
    pub created_at: i64,
    pub expires_at: i64,
    /// Set when another one signs.
    pub trusted_until: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
