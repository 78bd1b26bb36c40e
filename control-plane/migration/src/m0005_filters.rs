//! Stored filters, remembered answers, and deletions that watchers have to learn of.

use sea_orm_migration::prelude::*;

use crate::{bigint, blob, column, index, refers, table, text, unique};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

fn key(columns: [&'static str; 2]) -> IndexCreateStatement {
    let mut key = Index::create();
    for column in columns {
        key.col(Alias::new(column));
    }
    key.primary().take()
}

fn tables() -> Vec<TableCreateStatement> {
    let filters = vec![
        text("id").primary_key().take(),
        text("team_id"),
        text("name"),
        text("settings"),
        bigint("created_at"),
        bigint("updated_at"),
        bigint("revision"),
    ];
    let uses = vec![
        text("connection_id"),
        text("filter_id"),
        // The connection's, which never changes: what a change of the filter concerns.
        text("source_id"),
    ];
    let answers = vec![
        text("team_id"),
        text("request_id"),
        blob("answer"),
        bigint("created_at"),
    ];
    let deletions = vec![
        text("id").primary_key().take(),
        text("team_id"),
        text("kind"),
        bigint("revision"),
        bigint("deleted_at"),
    ];
    vec![
        table("filters", filters),
        table("connection_filters", uses)
            .primary_key(&mut key(["connection_id", "filter_id"]))
            .foreign_key(&mut refers("connection_filters", "filter_id", "filters"))
            .take(),
        table("remembered_answers", answers)
            .primary_key(&mut key(["team_id", "request_id"]))
            .take(),
        table("deletions", deletions),
    ]
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in tables() {
            manager.create_table(table).await?;
        }
        let floor = column("deletions_floor")
            .big_integer()
            .not_null()
            .default(0)
            .take();
        let mut alter = Table::alter();
        alter.table(Alias::new("installation")).add_column(floor);
        manager.alter_table(alter.take()).await?;
        let indexes = [
            unique("filters", &["team_id", "name"]),
            index("filters", &["team_id", "revision"]),
            index("connection_filters", &["filter_id"]),
            index("connection_filters", &["source_id"]),
            index("remembered_answers", &["created_at"]),
            index("deletions", &["team_id", "kind", "revision"]),
            index("deletions", &["deleted_at"]),
            index("sources", &["team_id", "revision"]),
            index("destinations", &["team_id", "revision"]),
            index("connections", &["team_id", "revision"]),
        ];
        for index in indexes {
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
