//! What keys grant, the audit record, and which secret verified how much.

use sea_orm_migration::prelude::*;

use crate::{bigint, column, index, moment, table, text};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

fn optional_text(name: &'static str) -> ColumnDef {
    column(name).text().null().take()
}

/// Nullable, because the release before this one writes rows without them.
fn added() -> Vec<(&'static str, ColumnDef)> {
    vec![
        // Null grants everything: such a key was made before there were scopes.
        ("api_keys", optional_text("scopes")),
        ("api_keys", moment("expires_at")),
        ("api_keys", moment("last_used_at")),
        ("api_keys", moment("rate_per_minute")),
        ("api_keys", moment("max_body_bytes")),
        ("api_keys", moment("rotated_at")),
        ("api_keys", optional_text("previous_hash")),
        ("api_keys", moment("previous_until")),
        // The end of the team's audit record.
        ("teams", moment("audit_sequence")),
        ("teams", optional_text("audit_hash")),
        // Sealed; authenticates audit records.
        ("installation", column("audit_key").blob().null().take()),
    ]
}

fn audit_entries() -> TableCreateStatement {
    let mut key = Index::create();
    key.col(Alias::new("team_id")).col(Alias::new("sequence"));
    let mut entries = table(
        "audit_entries",
        vec![
            text("team_id"),
            bigint("sequence"),
            bigint("at"),
            text("key_id"),
            text("key_name"),
            text("action"),
            text("resource_kind"),
            text("resource_id"),
            text("resource_name"),
            text("epoch"),
            moment("revision"),
            bigint("secrets_changed"),
            optional_text("before_state"),
            optional_text("after_state"),
            text("hash"),
        ],
    );
    entries.primary_key(&mut key.primary().take()).take()
}

fn secret_uses() -> TableCreateStatement {
    let mut key = Index::create();
    key.col(Alias::new("source_id")).col(Alias::new("version"));
    let mut uses = table(
        "secret_uses",
        vec![
            text("source_id"),
            text("team_id"),
            bigint("version"),
            bigint("verified"),
            bigint("last_verified_at"),
        ],
    );
    uses.primary_key(&mut key.primary().take()).take()
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (table, mut column) in added() {
            let mut alter = Table::alter();
            alter.table(Alias::new(table)).add_column(&mut column);
            manager.alter_table(alter.take()).await?;
        }
        manager.create_table(audit_entries()).await?;
        manager.create_table(secret_uses()).await?;
        let indexes = [
            index("api_keys", &["previous_hash"]),
            index("audit_entries", &["team_id", "resource_id"]),
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
