//! Migrations of the control plane's database: append-only, and each
//! compatible with the release before it. The same on SQLite and PostgreSQL.

use sea_orm_migration::prelude::*;

mod m0001_configuration;
mod m0002_fleet;
mod m0003_delivery;
mod m0004_security;
mod m0005_filters;
mod m0006_replicas;
mod m0007_access;
mod m0008_recovery;
mod m0009_handlers;
mod m0011_certificates;

/// All migrations, oldest first.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_configuration::Migration),
            Box::new(m0002_fleet::Migration),
            Box::new(m0003_delivery::Migration),
            Box::new(m0004_security::Migration),
            Box::new(m0005_filters::Migration),
            Box::new(m0006_replicas::Migration),
            Box::new(m0007_access::Migration),
            Box::new(m0008_recovery::Migration),
            Box::new(m0009_handlers::Migration),
            Box::new(m0011_certificates::Migration),
        ]
    }
}

/// A column by its name, so that a migration never follows a renamed entity.
fn column(name: &'static str) -> ColumnDef {
    ColumnDef::new(Alias::new(name))
}

fn text(name: &'static str) -> ColumnDef {
    column(name).text().not_null().take()
}

fn bigint(name: &'static str) -> ColumnDef {
    column(name).big_integer().not_null().take()
}

fn moment(name: &'static str) -> ColumnDef {
    column(name).big_integer().null().take()
}

fn blob(name: &'static str) -> ColumnDef {
    column(name).blob().not_null().take()
}

fn table(name: &'static str, columns: Vec<ColumnDef>) -> TableCreateStatement {
    let mut table = Table::create();
    table.table(Alias::new(name));
    for mut column in columns {
        table.col(&mut column);
    }
    table
}

fn unique(table: &'static str, columns: &[&'static str]) -> IndexCreateStatement {
    index(table, columns).unique().take()
}

fn index(table: &'static str, columns: &[&'static str]) -> IndexCreateStatement {
    let mut index = Index::create();
    index
        .name(format!("{table}_{}", columns.join("_")))
        .table(Alias::new(table));
    for column in columns {
        index.col(Alias::new(*column));
    }
    index
}

fn refers(from: &'static str, column: &'static str, to: &'static str) -> ForeignKeyCreateStatement {
    ForeignKey::create()
        .name(format!("{from}_{column}"))
        .from(Alias::new(from), Alias::new(column))
        .to(Alias::new(to), Alias::new("id"))
        .on_delete(ForeignKeyAction::Restrict)
        .to_owned()
}
