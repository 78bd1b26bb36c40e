//! The connection to SQLite or PostgreSQL, and the only ways into a transaction.

use std::sync::Arc;
use std::time::Duration;

use hookplane_entity::{installation, team};
use hookplane_migration::Migrator;
use sea_orm::{
    ActiveModelTrait as _, ConnectOptions, ConnectionTrait as _, DatabaseConnection,
    DatabaseTransaction, DbBackend, EntityTrait as _, Set, SqliteTransactionMode, Statement,
    TransactionOptions, TransactionTrait as _,
};
use sea_orm_migration::MigratorTrait as _;
use sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::StoreError;
use super::notices::{CHANNEL, Notices};

const ACQUIRE: Duration = Duration::from_secs(10);
const BUSY: Duration = Duration::from_secs(10);
const READERS: u32 = 4;
const POSTGRES_CONNECTIONS: u32 = 16;
/// Of every session: times in milliseconds, of keep-alive in seconds.
const POSTGRES_SETTINGS: [(&str, &str); 5] = [
    ("lock_timeout", "10000"),
    ("idle_in_transaction_session_timeout", "30000"),
    ("tcp_keepalives_idle", "10"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "3"),
];
/// Any number of our own; serialises migrations of replicas that start together.
const MIGRATION_LOCK: i64 = 0x686f_6f6b;
/// Changes that are under way or next: they run one after the other, and those that
/// wait must not hold the connections that everybody else needs.
const TURNS: usize = 4;
pub(super) const INSTALLATION: i32 = 1;

/// A handle; clones share the connections.
#[derive(Clone, Debug)]
pub struct Database {
    write: DatabaseConnection,
    read: DatabaseConnection,
    /// Where a listener connects; `None` for SQLite, which has one process.
    postgres: Option<Arc<str>>,
    turns: Arc<Semaphore>,
}

/// What a brand-new database is given.
#[derive(Clone, Debug)]
pub struct Birth {
    /// Lineage of its configuration, unlike any other's.
    pub epoch: String,
    pub team_id: String,
    pub now: i64,
}

impl Database {
    /// Connects, migrates, and makes the first team in an empty database.
    ///
    /// `url` is `sqlite://<path>?mode=rwc` or `postgres://…`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when it cannot be reached or migrated.
    pub async fn open(url: &str, birth: &Birth) -> Result<Self, StoreError> {
        Ok(if url.starts_with("sqlite:") {
            // One writer: a second one would only wait for SQLite's lock.
            let write = sea_orm::Database::connect(sqlite(url, 1)).await?;
            migrate(&write, birth).await?;
            let read = sea_orm::Database::connect(sqlite(url, READERS)).await?;
            Self {
                write,
                read,
                postgres: None,
                turns: Arc::new(Semaphore::new(TURNS)),
            }
        } else {
            let both = sea_orm::Database::connect(postgres(url)).await?;
            migrate(&both, birth).await?;
            Self {
                write: both.clone(),
                read: both,
                postgres: Some(url.into()),
                turns: Arc::new(Semaphore::new(TURNS)),
            }
        })
    }

    /// For reading outside a transaction.
    pub(crate) fn read(&self) -> &DatabaseConnection {
        &self.read
    }

    /// One consistent view over several reads.
    pub(crate) async fn snapshot(&self) -> Result<DatabaseTransaction, StoreError> {
        let postgres = self.read.get_database_backend() == DbBackend::Postgres;
        let options = TransactionOptions {
            isolation_level: postgres.then_some(sea_orm::IsolationLevel::RepeatableRead),
            access_mode: postgres.then_some(sea_orm::AccessMode::ReadOnly),
            sqlite_transaction_mode: None,
        };
        Ok(self.read.begin_with_options(options).await?)
    }

    /// For writing. On SQLite the lock is taken at once, because a deferred
    /// transaction fails when it comes to write after another one did.
    pub(crate) async fn write(&self) -> Result<DatabaseTransaction, StoreError> {
        begin(&self.write).await
    }

    /// For a change of the configuration: a transaction with a turn, to be kept as long.
    pub(crate) async fn change(
        &self,
    ) -> Result<(DatabaseTransaction, OwnedSemaphorePermit), StoreError> {
        let turn = tokio::time::timeout(ACQUIRE, Arc::clone(&self.turns).acquire_owned());
        let turn = turn.await.map_err(|_| StoreError::Busy)?;
        let turn = turn.map_err(|_| StoreError::Busy)?;
        Ok((self.write().await?, turn))
    }

    /// Whether other processes may use it too.
    pub(crate) const fn is_shared(&self) -> bool {
        self.postgres.is_some()
    }

    /// Tells the other replicas of a revision.
    pub(crate) async fn announce(&self, revision: u64) -> Result<(), StoreError> {
        if self.postgres.is_none() {
            return Ok(());
        }
        let statement = Statement::from_sql_and_values(
            DbBackend::Postgres,
            "SELECT pg_notify($1, $2)",
            [CHANNEL.into(), revision.to_string().into()],
        );
        self.write.execute_raw(statement).await?;
        Ok(())
    }

    /// Hears of the changes that other replicas commit.
    #[must_use]
    pub(crate) fn notices(&self) -> Notices {
        Notices::new(self.postgres.clone())
    }

    /// Whether it answers.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        Ok(self.read.ping().await?)
    }

    /// Ends the connections.
    pub async fn close(self) {
        let same = self.read.get_database_backend() == DbBackend::Postgres;
        for connection in [Some(self.write), (!same).then_some(self.read)]
            .into_iter()
            .flatten()
        {
            if let Err(error) = connection.close().await {
                tracing::warn!(error = %error, "the database was not closed cleanly");
            }
        }
    }
}

async fn begin(connection: &DatabaseConnection) -> Result<DatabaseTransaction, StoreError> {
    let sqlite = connection.get_database_backend() == DbBackend::Sqlite;
    let options = TransactionOptions {
        isolation_level: None,
        access_mode: None,
        sqlite_transaction_mode: sqlite.then_some(SqliteTransactionMode::Immediate),
    };
    Ok(connection.begin_with_options(options).await?)
}

async fn give_birth(connection: &DatabaseConnection, birth: &Birth) -> Result<(), StoreError> {
    let tx = begin(connection).await?;
    if installation::Entity::find_by_id(INSTALLATION)
        .one(&tx)
        .await?
        .is_none()
    {
        let row = installation::ActiveModel {
            id: Set(INSTALLATION),
            epoch: Set(birth.epoch.clone()),
            revision: Set(0),
            deletions_floor: Set(0),
            audit_key: Set(None),
        };
        row.insert(&tx).await?;
        let first = team::ActiveModel {
            id: Set(birth.team_id.clone()),
            name: Set("default".to_owned()),
            created_at: Set(birth.now),
            audit_sequence: Set(None),
            audit_hash: Set(None),
        };
        first.insert(&tx).await?;
    }
    Ok(tx.commit().await?)
}

async fn migrate(connection: &DatabaseConnection, birth: &Birth) -> Result<(), StoreError> {
    if connection.get_database_backend() != DbBackend::Postgres {
        refuse_newer(connection).await?;
        Migrator::up(connection, None).await?;
        return give_birth(connection, birth).await;
    }
    // Held by this transaction until every migration has run on other connections, and
    // until there is a first team: replicas that start together shall not make two.
    let lock = connection
        .begin_with_options(TransactionOptions::default())
        .await?;
    // However long that takes: the lock is waited for, and its holder idles meanwhile.
    for patient in ["lock_timeout", "idle_in_transaction_session_timeout"] {
        lock.execute_unprepared(&format!("SET LOCAL {patient} = 0"))
            .await?;
    }
    let statement = Statement::from_sql_and_values(
        DbBackend::Postgres,
        "SELECT pg_advisory_xact_lock($1)",
        [MIGRATION_LOCK.into()],
    );
    lock.execute_raw(statement).await?;
    refuse_newer(connection).await?;
    Migrator::up(connection, None).await?;
    give_birth(connection, birth).await?;
    Ok(lock.commit().await?)
}

/// A migration that this program does not know was made by a later one, which may
/// have given columns a meaning that this one would break.
async fn refuse_newer(connection: &DatabaseConnection) -> Result<(), StoreError> {
    let known: Vec<String> = Migrator::migrations()
        .iter()
        .map(|migration| migration.name().to_owned())
        .collect();
    Migrator::install(connection).await?;
    let applied = Migrator::get_migration_models(connection).await?;
    let newer = applied
        .into_iter()
        .find(|one| !known.contains(&one.version));
    newer.map_or(Ok(()), |one| Err(StoreError::Newer(one.version)))
}

fn options(url: &str, connections: u32) -> ConnectOptions {
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(connections)
        .acquire_timeout(ACQUIRE)
        .connect_timeout(ACQUIRE)
        .sqlx_logging(false);
    options
}

/// A replica that hangs or is cut off must not keep the others waiting for its locks.
fn postgres(url: &str) -> ConnectOptions {
    let mut options = options(url, POSTGRES_CONNECTIONS);
    options.map_sqlx_postgres_opts(|options| options.options(POSTGRES_SETTINGS));
    options
}

fn sqlite(url: &str, connections: u32) -> ConnectOptions {
    let mut options = options(url, connections);
    options.map_sqlx_sqlite_opts(|options| {
        options
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY)
    });
    options
}
