//! Keys of handlers, and the sources that they may report on.

use sea_orm_migration::prelude::*;

use crate::{bigint, index, moment, table, text};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

fn tables() -> Vec<TableCreateStatement> {
    let keys = vec![
        text("id").primary_key().take(),
        text("team_id"),
        text("name"),
        text("masked"),
        text("hash").unique_key().take(),
        bigint("created_at"),
        moment("revoked_at"),
        bigint("revision"),
    ];
    let mut of_key = Index::create();
    for column in ["key_id", "source_id"] {
        of_key.col(Alias::new(column));
    }
    vec![
        table("handler_keys", keys),
        // Without references: a source of the release before this one is deleted without them.
        table(
            "handler_key_sources",
            vec![text("key_id"), text("source_id")],
        )
        .primary_key(&mut of_key.primary().take())
        .take(),
    ]
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in tables() {
            manager.create_table(table).await?;
        }
        for index in [
            index("handler_keys", &["team_id"]),
            index("handler_key_sources", &["source_id"]),
        ] {
            manager.create_index(index).await?;
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
