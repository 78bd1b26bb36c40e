//! What the streams of agents showed, written for many agents at once.
//!
//! A change that a thousand agents acknowledge within a second is a handful
//! of statements, not a thousand transactions.

use std::collections::HashSet;

use hookplane_entity::agent::{Column, Entity};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait as _, ConnectionTrait as _, DatabaseTransaction, EntityTrait as _,
    QueryFilter as _, Statement, Value,
};

use super::agents::Observed;
use super::{AgentStore, StoreError, broken, signed, storable};

/// Agents of one statement: 11 values each, SQLite takes 32,766.
const AT_ONCE: usize = 500;

/// What is to be written of one agent.
#[derive(Clone, Debug)]
pub struct Observation {
    pub agent_id: String,
    pub observed: Observed,
    /// The stream is new: this replica has the agent from now on.
    pub claims: bool,
}

/// Who came to this replica and who left it, by agent id.
#[derive(Clone, Debug, Default)]
pub struct Presences {
    pub commands_here: Vec<String>,
    pub commands_gone: Vec<String>,
    pub streams_gone: Vec<String>,
}

impl AgentStore {
    /// Keeps what streams showed, and gives the agents whose stream another replica
    /// has meanwhile; of those nothing was written.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer; then nothing was written.
    pub async fn observe(
        &self,
        replica: &str,
        all: &[Observation],
    ) -> Result<Vec<String>, StoreError> {
        let tx = self.database.write().await?;
        let mut lost = Vec::new();
        for some in all.chunks(AT_ONCE) {
            lost.extend(write(&tx, replica, some).await?);
        }
        tx.commit().await?;
        Ok(lost)
    }

    /// Keeps where agents are connected.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn locate(&self, replica: &str, all: &Presences) -> Result<(), StoreError> {
        let tx = self.database.write().await?;
        for some in all.commands_here.chunks(AT_ONCE) {
            Entity::update_many()
                .col_expr(Column::CommandsReplica, Expr::value(replica))
                .filter(Column::Id.is_in(some.to_vec()))
                .exec(&tx)
                .await?;
        }
        // Only what still names this replica: the agent may be with another by now.
        for (column, gone) in [
            (Column::CommandsReplica, &all.commands_gone),
            (Column::StreamReplica, &all.streams_gone),
        ] {
            for some in gone.chunks(AT_ONCE) {
                Entity::update_many()
                    .col_expr(column, Expr::value(None::<String>))
                    .filter(column.eq(replica))
                    .filter(Column::Id.is_in(some.to_vec()))
                    .exec(&tx)
                    .await?;
            }
        }
        Ok(tx.commit().await?)
    }
}

/// Columns of one agent in the statement, with their types.
const COLUMNS: [(&str, &str); 11] = [
    ("id", "TEXT"),
    ("version", "TEXT"),
    ("epoch", "TEXT"),
    ("revision", "BIGINT"),
    ("digest", "TEXT"),
    ("refused", "TEXT"),
    ("connected_at", "BIGINT"),
    ("last_seen_at", "BIGINT"),
    ("capabilities", "TEXT"),
    ("drifted_at", "BIGINT"),
    ("claims", "BIGINT"),
];

async fn write(
    tx: &DatabaseTransaction,
    replica: &str,
    some: &[Observation],
) -> Result<Vec<String>, StoreError> {
    let mut values: Vec<Value> = vec![replica.into()];
    let mut rows = Vec::with_capacity(some.len());
    for one in some {
        let first = values.len() + 1;
        values.extend(row(one)?);
        let cast =
            |(at, (_, kind)): (usize, &(&str, &str))| format!("CAST(${} AS {kind})", first + at);
        let casts: Vec<String> = COLUMNS.iter().enumerate().map(cast).collect();
        rows.push(format!("({})", casts.join(",")));
    }
    let names = COLUMNS.map(|(name, _)| name).join(",");
    let sets: Vec<String> = COLUMNS[1..10]
        .iter()
        .map(|(name, _)| format!("{name}=v.{name}"))
        .collect();
    let sql = format!(
        "WITH v ({names}) AS (VALUES {}) UPDATE agents SET {}, stream_replica=$1 FROM v \
         WHERE agents.id=v.id AND (v.claims=1 OR agents.stream_replica IS NULL \
         OR agents.stream_replica=$1) RETURNING agents.id",
        rows.join(","),
        sets.join(","),
    );
    let statement = Statement::from_sql_and_values(tx.get_database_backend(), sql, values);
    let mut written = HashSet::new();
    for row in tx.query_all_raw(statement).await? {
        written.insert(row.try_get_by_index::<String>(0)?);
    }
    let lost = some.iter().filter(|one| !written.contains(&one.agent_id));
    Ok(lost.map(|one| one.agent_id.clone()).collect())
}

fn row(one: &Observation) -> Result<[Value; 11], StoreError> {
    let observed = &one.observed;
    let text = |fault: serde_json::Error| broken("agents", &one.agent_id, fault);
    Ok([
        one.agent_id.clone().into(),
        storable(&observed.version).into_owned().into(),
        storable(&observed.epoch).into_owned().into(),
        signed(observed.revision).into(),
        storable(&observed.digest).into_owned().into(),
        serde_json::to_string(&observed.refused)
            .map_err(text)?
            .into(),
        observed.connected_at.into(),
        observed.last_seen_at.into(),
        serde_json::to_string(&observed.capabilities)
            .map_err(text)?
            .into(),
        observed.drifted_at.into(),
        i64::from(one.claims).into(),
    ])
}
