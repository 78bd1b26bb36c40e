//! Teams, keys, sources, destinations, connections and the revision counter.

use sea_orm_migration::prelude::*;

use crate::{bigint, blob, column, index, moment, refers, table, text, unique};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

fn resource(extra: Vec<ColumnDef>) -> Vec<ColumnDef> {
    let mut columns = vec![
        text("id").primary_key().take(),
        text("team_id"),
        text("name"),
        text("settings"),
        moment("disabled_at"),
        bigint("created_at"),
        bigint("updated_at"),
        bigint("revision"),
    ];
    columns.extend(extra);
    columns
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let tables = [
            table(
                "installation",
                vec![
                    column("id").integer().not_null().primary_key().take(),
                    text("epoch"),
                    bigint("revision"),
                ],
            ),
            table(
                "teams",
                vec![
                    text("id").primary_key().take(),
                    text("name"),
                    bigint("created_at"),
                ],
            ),
            table(
                "api_keys",
                vec![
                    text("id").primary_key().take(),
                    text("team_id"),
                    text("name"),
                    text("masked"),
                    text("hash").unique_key().take(),
                    bigint("created_at"),
                    moment("revoked_at"),
                ],
            ),
            table(
                "sources",
                resource(vec![blob("auth"), text("pool"), bigint("group_revision")]),
            ),
            table("destinations", resource(vec![blob("auth")])),
            table(
                "connections",
                resource(vec![text("source_id"), text("destination_id")]),
            )
            .foreign_key(&mut refers("connections", "source_id", "sources"))
            .foreign_key(&mut refers("connections", "destination_id", "destinations"))
            .take(),
            table(
                "deleted_connections",
                vec![
                    text("id").primary_key().take(),
                    text("pool"),
                    bigint("revision"),
                    bigint("deleted_at"),
                ],
            ),
        ];
        for table in tables {
            manager.create_table(table).await?;
        }
        let indexes = [
            unique("sources", &["team_id", "name"]),
            unique("destinations", &["team_id", "name"]),
            unique("connections", &["source_id", "name"]),
            index("connections", &["destination_id"]),
            index("sources", &["pool"]),
            index("deleted_connections", &["pool"]),
            index("deleted_connections", &["deleted_at"]),
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
