//! Connections between a source and a destination.

use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Serialize, Deserialize)]
#[sea_orm(table_name = "connections")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub team_id: String,
    pub name: String,
    /// JSON without secrets.
    #[sea_orm(column_type = "Text")]
    pub settings: String,
    pub source_id: String,
    pub destination_id: String,
    pub disabled_at: Option<i64>,
    // Images that the release before this one kept have none of the three.
    #[serde(default)]
    pub paused_at: Option<i64>,
    #[serde(default)]
    pub resumed_at: Option<i64>,
    #[serde(default)]
    pub drain_rate: Option<i64>,
    pub created_at: i64,
    pub updated_at: i64,
    /// Configuration revision of the last change.
    pub revision: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
