//! Authorities of agents' certificates, and which key an agent's certificates are for.

use sea_orm_migration::prelude::*;

use crate::{bigint, blob, column, moment, table, text};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let authorities = table(
            "agent_authorities",
            vec![
                text("id").primary_key().take(),
                text("certificate"),
                blob("private_key"),
                bigint("created_at"),
                bigint("expires_at"),
                moment("trusted_until"),
            ],
        );
        manager.create_table(authorities).await?;
        // Nullable, because the release before this one writes rows without them; one by one,
        // because SQLite adds one column at a time.
        for column in [
            column("certificate_key").text().null().take(),
            moment("certificate_expires_at"),
        ] {
            let mut alter = Table::alter();
            alter.table(Alias::new("agents")).add_column(column);
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
