//! How long events wait, and how agents stand to their destinations.

use sea_orm_migration::prelude::*;

use crate::{bigint, column, table, text};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // Nullable, because the release before this one writes rows without them.
        for name in ["start_delay", "delivered_after"] {
            let mut alter = Table::alter();
            alter
                .table(Alias::new("destination_minutes"))
                .add_column(column(name).blob().null().take());
            manager.alter_table(alter.take()).await?;
        }
        let mut key = Index::create();
        key.col(Alias::new("agent_id")).col(Alias::new("team_id"));
        let standings = table(
            "destination_standings",
            vec![
                text("agent_id"),
                text("team_id"),
                bigint("reported_at"),
                text("states"),
            ],
        )
        .primary_key(&mut key.primary().take())
        .take();
        manager.create_table(standings).await
    }

    async fn down(&self, _manager: &SchemaManager) -> Result<(), DbErr> {
        Err(DbErr::Migration("migrations only go forward".to_owned()))
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
