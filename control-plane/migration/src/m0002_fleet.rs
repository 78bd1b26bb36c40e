//! Agents, and what they reported, by the minute.

use sea_orm_migration::prelude::*;

use crate::{bigint, blob, column, index, moment, table, text};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

fn key(columns: &[&'static str]) -> IndexCreateStatement {
    let mut key = Index::create();
    for column in columns {
        key.col(Alias::new(*column));
    }
    key.primary().take()
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let tables = [
            table(
                "agents",
                vec![
                    text("id").primary_key().take(),
                    text("name").unique_key().take(),
                    text("pool"),
                    column("store").integer().not_null().unique_key().take(),
                    text("credential_hash").unique_key().take(),
                    text("version"),
                    bigint("created_at"),
                    text("epoch"),
                    bigint("revision"),
                    text("digest"),
                    text("refused"),
                    moment("connected_at"),
                    moment("last_seen_at"),
                    bigint("backlog"),
                ],
            ),
            table(
                "report_cursors",
                vec![text("agent_id").primary_key().take(), bigint("sequence")],
            ),
            table(
                "source_minutes",
                vec![
                    bigint("minute"),
                    text("agent_id"),
                    text("source_id"),
                    text("event_type"),
                    text("team_id"),
                    bigint("received"),
                    bigint("accepted"),
                    bigint("rejected"),
                    bigint("repeats"),
                    bigint("bytes"),
                    blob("latency"),
                ],
            )
            .primary_key(&mut key(&["minute", "agent_id", "source_id", "event_type"]))
            .take(),
            table(
                "destination_minutes",
                vec![
                    bigint("minute"),
                    text("agent_id"),
                    text("destination_id"),
                    text("team_id"),
                    bigint("attempts"),
                    bigint("successful"),
                    bigint("failed"),
                    blob("latency"),
                ],
            )
            .primary_key(&mut key(&["minute", "agent_id", "destination_id"]))
            .take(),
        ];
        for table in tables {
            manager.create_table(table).await?;
        }
        for name in ["source_minutes", "destination_minutes"] {
            manager
                .create_index(index(name, &["team_id", "minute"]))
                .await?;
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
