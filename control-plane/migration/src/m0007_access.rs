//! Tokens for enrolment, and agents that were revoked.

use sea_orm_migration::prelude::*;

use crate::{bigint, column, index, moment, table, text};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let tokens = table(
            "agent_tokens",
            vec![
                text("id").primary_key().take(),
                text("team_id"),
                text("name"),
                text("pool"),
                text("hash").unique_key().take(),
                bigint("created_at"),
                bigint("expires_at"),
                moment("used_at"),
                column("used_by").text().null().take(),
                moment("revoked_at"),
            ],
        );
        manager.create_table(tokens).await?;
        manager
            .create_index(index("agent_tokens", &["team_id"]))
            .await?;
        // Nullable, because the release before this one writes rows without it.
        let mut alter = Table::alter();
        alter
            .table(Alias::new("agents"))
            .add_column(moment("revoked_at"));
        manager.alter_table(alter.take()).await?;
        manager.create_index(index("agents", &["revoked_at"])).await
    }

    async fn down(&self, _manager: &SchemaManager) -> Result<(), DbErr> {
        Err(DbErr::Migration("migrations only go forward".to_owned()))
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
