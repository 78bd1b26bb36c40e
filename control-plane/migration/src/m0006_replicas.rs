//! Replicas, leases, staged rollouts, and what agents can do and where they are connected.

use sea_orm_migration::prelude::*;

use crate::{bigint, blob, column, index, moment, table, text};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

fn optional_text(name: &'static str) -> ColumnDef {
    column(name).text().null().take()
}

fn tables() -> Vec<TableCreateStatement> {
    let mut image = Index::create();
    for name in ["rollout_id", "kind", "id"] {
        image.col(Alias::new(name));
    }
    vec![
        table(
            "replicas",
            vec![
                text("id").primary_key().take(),
                text("url"),
                blob("token"),
                bigint("beat"),
                bigint("started_at"),
            ],
        ),
        table(
            "leases",
            vec![
                text("name").primary_key().take(),
                text("holder"),
                bigint("term"),
            ],
        ),
        table(
            "rollout_policies",
            vec![
                text("pool").primary_key().take(),
                bigint("share_percent"),
                bigint("hold_seconds"),
                bigint("max_failure_percent"),
                bigint("updated_at"),
            ],
        ),
        table(
            "rollouts",
            vec![
                text("id").primary_key().take(),
                text("pool"),
                text("state"),
                bigint("base_revision"),
                bigint("revision"),
                moment("ended_revision"),
                bigint("share_percent"),
                bigint("hold_seconds"),
                bigint("max_failure_percent"),
                text("agents"),
                bigint("started_at"),
                bigint("changed_at"),
                moment("ended_at"),
                text("reason"),
            ],
        ),
        table(
            "rollout_images",
            vec![
                text("rollout_id"),
                text("kind"),
                text("id"),
                // Absent when the resource did not exist.
                optional_text("before"),
            ],
        )
        .primary_key(&mut image.primary().take())
        .take(),
    ]
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // Nullable, because the release before this one writes rows without them.
        let added = [
            optional_text("capabilities"),
            optional_text("stream_replica"),
            optional_text("commands_replica"),
            moment("drifted_at"),
        ];
        for mut column in added {
            let mut alter = Table::alter();
            alter.table(Alias::new("agents")).add_column(&mut column);
            manager.alter_table(alter.take()).await?;
        }
        for table in tables() {
            manager.create_table(table).await?;
        }
        for index in [
            index("sources", &["group_revision"]),
            index("destinations", &["revision"]),
            index("rollouts", &["pool", "state"]),
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
