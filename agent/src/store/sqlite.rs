//! The store on SQLite: one file, one writer thread, a few read-only connections.
//!
//! Owns the file and its threads. WAL with full synchronous mode, so a commit is
//! on stable storage before it is answered. Writes go through `writer` in
//! groups; reads run on blocking threads with a bound and a deadline and never
//! wait for the writer.

mod changes;
mod queries;
mod rows;
mod schema;
mod upkeep;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _};
use tokio::sync::{Semaphore, broadcast};

use super::feed::{Feed, StoreEvent};
use super::{
    Appended, AttemptQuery, AttemptRecord, Completion, DueEvent, DueQuery, EventQuery, EventRecord,
    EventTotals, NewRequest, PendingLane, RequestCounts, RequestHistory, RequestQuery,
    RequestRecord, RequestTotals, RetryError, SpooledReport, Store, StoreError,
};
use crate::ids::IdMint;
use writer::Writer;

const READERS: usize = 4;
const READ_DEADLINE: Duration = Duration::from_secs(10);
const STORE_NUMBER: &str = "store_number";

/// A handle; clones share the file and its threads.
#[derive(Clone)]
pub struct SqliteStore {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    /// Taken by `close`; the thread ends when its last job is done.
    writer: Mutex<Option<Arc<Writer>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    readers: Mutex<Vec<Connection>>,
    permits: Semaphore,
    feed: Feed,
}

impl SqliteStore {
    /// Opens or creates the file.
    ///
    /// # Errors
    /// `Unavailable` when the file cannot be opened, or was written by a newer release.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let connection = Connection::open(path).map_err(failed)?;
        schema::prepare_writer(&connection).map_err(StoreError::Unavailable)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let readers = (0..READERS)
            .map(|_| {
                let reader = Connection::open_with_flags(path, flags)?;
                schema::prepare_reader(&reader)?;
                Ok(reader)
            })
            .collect::<rusqlite::Result<Vec<_>>>()
            .map_err(failed)?;
        let (writer, thread) = Writer::start(connection).map_err(failed)?;
        Ok(Self {
            shared: Arc::new(Shared {
                path: path.to_owned(),
                writer: Mutex::new(Some(Arc::new(writer))),
                thread: Mutex::new(Some(thread)),
                readers: Mutex::new(readers),
                permits: Semaphore::new(READERS),
                feed: Feed::new(),
            }),
        })
    }

    /// Refuses new work, finishes what is queued and closes the file.
    pub async fn close(&self) {
        drop(lock(&self.shared.writer).take());
        let thread = lock(&self.shared.thread).take();
        if let Some(thread) = thread
            && tokio::task::spawn_blocking(move || thread.join())
                .await
                .is_err()
        {
            tracing::error!("the store's writer ended by a panic");
        }
    }

    #[cfg(test)]
    pub(super) async fn limit_pages(&self, pages: u32) {
        self.change(move |db| {
            db.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
                .map_err(failed)
        })
        .await
        .expect("the limit is set");
    }

    fn writer(&self) -> Result<Arc<Writer>, StoreError> {
        lock(&self.shared.writer).clone().ok_or(StoreError::Closed)
    }

    async fn change<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.writer()?.run(work, |_| {}).await
    }

    async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = tokio::time::timeout(READ_DEADLINE, self.shared.permits.acquire())
            .await
            .map_err(|_| StoreError::Busy)?
            .map_err(|_| StoreError::Closed)?;
        let shared = Arc::clone(&self.shared);
        let answer = tokio::task::spawn_blocking(move || {
            let reader = lock(&shared.readers).pop().ok_or(StoreError::Busy)?;
            let answer = question(&reader);
            lock(&shared.readers).push(reader);
            answer
        });
        let answer = answer
            .await
            .map_err(|error| StoreError::Unavailable(Box::new(error)))?;
        drop(permit);
        answer
    }
}

#[async_trait]
impl Store for SqliteStore {
    fn subscribe(&self) -> broadcast::Receiver<StoreEvent> {
        self.shared.feed.subscribe()
    }

    async fn append(&self, new: NewRequest, ids: IdMint) -> Result<Appended, StoreError> {
        let feed = self.shared.feed.clone();
        let new = Arc::new(new);
        let news = Arc::clone(&new);
        let work = move |db: &Connection| changes::append(db, &new, ids);
        let committed = move |appended: &Appended| match appended {
            Appended::New => feed.publish(StoreEvent::Stored {
                request: Arc::new(news.request.clone()),
                events: Arc::new(news.events.clone()),
            }),
            Appended::Repeat { requeued, .. } => {
                for event in requeued {
                    feed.publish(StoreEvent::Requeued(Arc::new(event.clone())));
                }
            }
        };
        self.writer()?.run(work, committed).await
    }

    async fn complete(&self, completion: Completion) -> Result<(), StoreError> {
        let feed = self.shared.feed.clone();
        let attempt = Arc::new(completion.attempt.clone());
        let work = move |db: &Connection| changes::complete(db, &completion);
        let committed = move |event: &Option<EventRecord>| {
            if let Some(event) = event {
                feed.publish(StoreEvent::Completed {
                    attempt,
                    event: Arc::new(event.clone()),
                });
            }
        };
        self.writer()?.run(work, committed).await.map(drop)
    }

    async fn retry_event(
        &self,
        team_id: &str,
        parent_event_id: &str,
        new_event_id: String,
        now: u64,
    ) -> Result<EventRecord, RetryError> {
        let (team, parent) = (team_id.to_owned(), parent_event_id.to_owned());
        let feed = self.shared.feed.clone();
        // A refusal is an answer, not a fault of the store: it must not look like one.
        let work = move |db: &Connection| match changes::retry_event(
            db,
            &team,
            &parent,
            new_event_id,
            now,
        ) {
            Err(RetryError::Store(error)) => Err(error),
            outcome => Ok(outcome),
        };
        let committed = move |outcome: &Result<EventRecord, RetryError>| {
            if let Ok(event) = outcome {
                feed.publish(StoreEvent::Requeued(Arc::new(event.clone())));
            }
        };
        self.writer()?.run(work, committed).await?
    }

    async fn cancel_pending(&self, connection_id: &str, detail: &str) -> Result<u64, StoreError> {
        let (connection_id, detail) = (connection_id.to_owned(), detail.to_owned());
        self.change(move |db| changes::cancel_pending(db, &connection_id, &detail).map_err(failed))
            .await
    }

    async fn pending_connections(&self) -> Result<Vec<String>, StoreError> {
        self.read(|db| queries::pending_connections(db).map_err(failed))
            .await
    }

    async fn pending_lanes(&self) -> Result<Vec<PendingLane>, StoreError> {
        self.read(|db| queries::pending_lanes(db).map_err(failed))
            .await
    }

    async fn due(&self, query: DueQuery) -> Result<Vec<DueEvent>, StoreError> {
        self.read(move |db| queries::due(db, &query)).await
    }

    async fn request(
        &self,
        team_id: &str,
        id: &str,
    ) -> Result<Option<(RequestRecord, RequestCounts)>, StoreError> {
        let (team, id) = (team_id.to_owned(), id.to_owned());
        self.read(move |db| queries::request(db, &team, &id)).await
    }

    async fn history(&self, team_id: &str, id: &str) -> Result<Option<RequestHistory>, StoreError> {
        let (team, id) = (team_id.to_owned(), id.to_owned());
        self.read(move |db| {
            // One transaction, so that the parts belong to one moment.
            db.execute_batch("BEGIN").map_err(failed)?;
            let found = queries::history(db, &team, &id);
            db.execute_batch("COMMIT").map_err(failed)?;
            found
        })
        .await
    }

    async fn event(&self, team_id: &str, id: &str) -> Result<Option<EventRecord>, StoreError> {
        let (team, id) = (team_id.to_owned(), id.to_owned());
        self.read(move |db| queries::event(db, &team, &id)).await
    }

    async fn attempt(&self, team_id: &str, id: &str) -> Result<Option<AttemptRecord>, StoreError> {
        let (team, id) = (team_id.to_owned(), id.to_owned());
        self.read(move |db| queries::attempt(db, &team, &id)).await
    }

    async fn requests(
        &self,
        query: RequestQuery,
        with_data: bool,
    ) -> Result<Vec<(RequestRecord, RequestCounts)>, StoreError> {
        self.read(move |db| queries::requests(db, &query, with_data))
            .await
    }

    async fn events(&self, query: EventQuery) -> Result<Vec<EventRecord>, StoreError> {
        self.read(move |db| queries::events(db, &query)).await
    }

    async fn attempts(&self, query: AttemptQuery) -> Result<Vec<AttemptRecord>, StoreError> {
        self.read(move |db| queries::attempts(db, &query)).await
    }

    async fn count_requests(&self, query: RequestQuery) -> Result<RequestTotals, StoreError> {
        self.read(move |db| queries::count_requests(db, &query))
            .await
    }

    async fn count_events(&self, query: EventQuery) -> Result<EventTotals, StoreError> {
        self.read(move |db| queries::count_events(db, &query)).await
    }

    async fn retain(&self, before: u64, limit: u32) -> Result<u64, StoreError> {
        self.change(move |db| changes::retain(db, before, limit).map_err(failed))
            .await
    }

    async fn size_bytes(&self) -> Result<u64, StoreError> {
        let path = self.shared.path.clone();
        self.read(move |_| {
            let wal = path.with_file_name(format!(
                "{}-wal",
                path.file_name().unwrap_or_default().to_string_lossy()
            ));
            // The log is absent after a clean close.
            let log = std::fs::metadata(wal).map_or(0, |file| file.len());
            Ok(std::fs::metadata(&path).map_err(failed)?.len() + log)
        })
        .await
    }

    async fn store_number(&self) -> Result<Option<u32>, StoreError> {
        self.read(|db| {
            db.query_row(
                "SELECT value FROM fact WHERE name = ?1",
                [STORE_NUMBER],
                |row| row.get(0),
            )
            .optional()
            .map_err(failed)
        })
        .await
    }

    async fn set_store_number(&self, number: u32) -> Result<(), StoreError> {
        self.change(move |db| {
            db.execute(
                "INSERT OR IGNORE INTO fact VALUES (?1, ?2)",
                (STORE_NUMBER, number),
            )
            .map_err(failed)?;
            let kept: u32 = db
                .query_row(
                    "SELECT value FROM fact WHERE name = ?1",
                    [STORE_NUMBER],
                    |row| row.get(0),
                )
                .map_err(failed)?;
            if kept == number {
                return Ok(());
            }
            Err(StoreError::Corrupt {
                table: "fact",
                id: STORE_NUMBER.to_owned(),
                fault: format!("the store is number {kept} and cannot become {number}"),
            })
        })
        .await
    }

    async fn spool_report(&self, payload: Vec<u8>) -> Result<u64, StoreError> {
        self.change(move |db| upkeep::spool(db, payload).map_err(failed))
            .await
    }

    async fn spooled_reports(
        &self,
        after: u64,
        limit: u32,
    ) -> Result<Vec<SpooledReport>, StoreError> {
        self.read(move |db| upkeep::spooled(db, after, limit).map_err(failed))
            .await
    }

    async fn acknowledge_reports(&self, up_to: u64) -> Result<(), StoreError> {
        self.change(move |db| upkeep::acknowledge(db, up_to).map_err(failed))
            .await
    }

    async fn amend_report(&self, sequence: u64, payload: Vec<u8>) -> Result<bool, StoreError> {
        self.change(move |db| upkeep::amend(db, sequence, payload).map_err(failed))
            .await
    }

    async fn spool_length(&self) -> Result<u64, StoreError> {
        self.read(|db| upkeep::spool_length(db).map_err(failed))
            .await
    }

    async fn probe(&self, now: u64) -> Result<(), StoreError> {
        self.change(move |db| upkeep::probe(db, now).map_err(failed))
            .await
    }

    async fn backlog(&self) -> Result<EventTotals, StoreError> {
        self.read(|db| upkeep::backlog(db).map_err(failed)).await
    }

    async fn imbalance(&self) -> Result<u64, StoreError> {
        self.read(|db| upkeep::imbalance(db).map_err(failed)).await
    }
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::Unavailable(Box::new(error))
}

/// A panic elsewhere must not take the store with it; the data under these locks stays whole.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
