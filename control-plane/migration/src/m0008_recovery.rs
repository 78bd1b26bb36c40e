//! Connections that hold their events, and bulk operations.

use sea_orm_migration::prelude::*;

use crate::{bigint, blob, column, index, moment, table, text, unique};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

fn optional_text(name: &'static str) -> ColumnDef {
    column(name).text().null().take()
}

fn operations() -> TableCreateStatement {
    table(
        "bulk_operations",
        vec![
            text("id").primary_key().take(),
            text("team_id"),
            text("kind"),
            blob("selection"),
            bigint("rate"),
            text("canary"),
            text("status"),
            text("status_reason"),
            text("requested_by"),
            optional_text("request_id"),
            optional_text("fingerprint"),
            bigint("total"),
            text("skipped_reason"),
            bigint("created_at"),
            bigint("updated_at"),
            moment("finished_at"),
        ],
    )
}

fn shares() -> TableCreateStatement {
    let mut columns = vec![
        text("operation_id"),
        text("agent_id"),
        text("after_id"),
        column("exhausted").boolean().not_null().take(),
    ];
    let counts = [
        "made",
        "skipped",
        "queued",
        "scheduled",
        "done",
        "failed",
        "cancelled",
    ];
    columns.extend(counts.map(bigint));
    let mut key = Index::create();
    key.col(Alias::new("operation_id"))
        .col(Alias::new("agent_id"));
    table("bulk_shares", columns)
        .primary_key(&mut key.primary().take())
        .take()
}

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
        manager.create_table(operations()).await?;
        manager.create_table(shares()).await?;
        let indexes = [
            index("bulk_operations", &["team_id", "kind", "id"]),
            index("bulk_operations", &["finished_at", "status"]),
            unique("bulk_operations", &["team_id", "request_id"]),
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
