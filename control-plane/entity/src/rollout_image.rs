//! Rows as they were before a rollout changed them.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "rollout_images")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub rollout_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub kind: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// JSON of the row; `None` when there was none.
    #[sea_orm(column_type = "Text", nullable)]
    pub before: Option<String>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
