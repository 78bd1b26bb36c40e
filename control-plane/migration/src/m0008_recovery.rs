//! Connections that hold their events.

use sea_orm_migration::prelude::*;

use crate::moment;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // Nullable, because the release before this one writes rows without them.
        for name in ["paused_at", "resumed_at", "drain_rate"] {
            let mut alter = Table::alter();
            alter
                .table(Alias::new("connections"))
                .add_column(moment(name));
            manager.alter_table(alter.take()).await?;
        }
        Ok(())
    }

    async fn down(&self, _manager: &SchemaManager) -> Result<(), DbErr> {
        Err(DbErr::Migration("migrations only go forward".to_owned()))
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
