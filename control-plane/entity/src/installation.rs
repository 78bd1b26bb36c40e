//! One row: the lineage and the newest configuration revision of this database,
//! and the key of its audit records.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "installation")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i32,
    /// New for every database ever created.
    pub epoch: String,
    pub revision: i64,
    /// Deletions up to this revision may have been forgotten.
    pub deletions_floor: i64,
    /// Sealed key that authenticates audit records.
    pub audit_key: Option<Vec<u8>>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
