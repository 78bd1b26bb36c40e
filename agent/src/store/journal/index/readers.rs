//! Connections that read: who may ask, how long, and what happens to a question nobody waits for.
//!
//! One pool for each kind of asker, so that lists never hold up accepts or deliveries. Invariants: a
//! connection comes back whatever becomes of its question, and before the permit for it does; a
//! question ends soon after its deadline, and soon after nobody waits for it any more.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{cause, end_if_broken, failed, reader};
use crate::store::StoreError;

/// Steps of SQLite between two looks at the time: some tens of microseconds.
const STEPS: std::ffi::c_int = 4_000;
/// How long a question waits for a connection.
const TURN: Duration = Duration::from_secs(5);
/// Look-ups read a handful of pages.
const LOOK_UP: Duration = Duration::from_secs(5);
/// Lists and counts.
const ANSWER: Duration = Duration::from_secs(5);
/// The check of the books reads many events at once, in the background.
const CHECK: Duration = Duration::from_secs(30);

pub(in super::super) struct Readers {
    /// Whether a message is known.
    pub(in super::super) arrivals: Arc<Pool>,
    pub(in super::super) deliveries: Arc<Pool>,
    pub(in super::super) questions: Arc<Pool>,
    pub(in super::super) checks: Arc<Pool>,
}

/// Read-only connections with a bound.
pub(in super::super) struct Pool {
    index: PathBuf,
    connections: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
    longest: Duration,
}

impl Readers {
    pub(in super::super) fn open(path: &Path) -> Result<Self, StoreError> {
        let pool = |connections, longest| Pool::open(path, connections, longest).map(Arc::new);
        Ok(Self {
            arrivals: pool(4, LOOK_UP)?,
            deliveries: pool(2, LOOK_UP)?,
            questions: pool(4, ANSWER)?,
            checks: pool(1, CHECK)?,
        })
    }
}

impl Pool {
    pub(in super::super) fn open(
        path: &Path,
        connections: usize,
        longest: Duration,
    ) -> Result<Self, StoreError> {
        let opened = (0..connections).map(|_| reader(path));
        Ok(Self {
            index: path.to_owned(),
            connections: Mutex::new(opened.collect::<Result<_, _>>()?),
            permits: Arc::new(Semaphore::new(connections)),
            longest,
        })
    }

    /// Runs a question on a blocking thread. Dropping the future stops it.
    pub(in super::super) async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        question: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = tokio::time::timeout(TURN, Arc::clone(&self.permits).acquire_owned())
            .await
            .map_err(|_| StoreError::Busy)?
            .map_err(|_| StoreError::Closed)?;
        let asker = Asker::default();
        let gone = Arc::clone(&asker.gone);
        let lent = Lent::of(self, permit)?;
        let answer = tokio::task::spawn_blocking(move || lent.answer(question, gone));
        let answer = answer.await.map_err(failed)?;
        drop(asker);
        answer
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who waits for an answer, as long as it lives.
#[derive(Default)]
struct Asker {
    gone: Arc<AtomicBool>,
}

impl Drop for Asker {
    fn drop(&mut self) {
        self.gone.store(true, Ordering::Relaxed);
    }
}

/// A connection in use. Given back when dropped, and then the permit.
struct Lent {
    pool: Arc<Pool>,
    connection: Option<Connection>,
    _permit: OwnedSemaphorePermit,
}

impl Lent {
    fn of(pool: &Arc<Pool>, permit: OwnedSemaphorePermit) -> Result<Self, StoreError> {
        // There are as many as permits, and they come back first.
        let connection = pool.lock().pop().ok_or(StoreError::Busy)?;
        Ok(Self {
            pool: Arc::clone(pool),
            connection: Some(connection),
            _permit: permit,
        })
    }

    fn answer<T>(
        &self,
        question: impl FnOnce(&Connection) -> Result<T, StoreError>,
        gone: Arc<AtomicBool>,
    ) -> Result<T, StoreError> {
        let Some(connection) = &self.connection else {
            return Err(StoreError::Busy);
        };
        let deadline = Instant::now() + self.pool.longest;
        let stop = move || gone.load(Ordering::Relaxed) || Instant::now() >= deadline;
        connection
            .progress_handler(STEPS, Some(stop))
            .map_err(failed)?;
        let answer = question(connection);
        match answer {
            Err(error) if was_stopped(&error) => Err(StoreError::TooLong),
            Err(error) => {
                end_if_broken(&self.pool.index, &error);
                Err(error)
            }
            answer => answer,
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            // It fails for connections that somebody else opened only.
            drop(connection.progress_handler(0, None::<fn() -> bool>));
            self.pool.lock().push(connection);
        }
    }
}

fn was_stopped(error: &StoreError) -> bool {
    let code = cause(error).and_then(rusqlite::Error::sqlite_error_code);
    code == Some(rusqlite::ErrorCode::OperationInterrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Never ends by itself.
    const ENDLESS: &str =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";

    fn endless(db: &Connection) -> Result<i64, StoreError> {
        db.query_row(ENDLESS, [], |row| row.get(0)).map_err(failed)
    }

    fn pool(folder: &Path, longest: Duration) -> Arc<Pool> {
        let path = folder.join("index.db");
        drop(super::super::open(&path).unwrap());
        Arc::new(Pool::open(&path, 2, longest).unwrap())
    }

    async fn still_answers(pool: &Arc<Pool>) {
        let answer = |db: &Connection| db.query_row("SELECT 7", [], |row| row.get(0));
        for _ in 0..4 {
            let seven: i64 = pool
                .ask(move |db| answer(db).map_err(failed))
                .await
                .unwrap();
            assert_eq!(seven, 7);
        }
    }

    #[tokio::test]
    async fn a_question_that_takes_too_long_is_stopped_with_an_error_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let pool = pool(dir.path(), Duration::from_millis(20));
        let stopped = pool.ask(endless).await;
        assert!(matches!(stopped, Err(StoreError::TooLong)), "{stopped:?}");
        still_answers(&pool).await;
    }

    #[tokio::test]
    async fn questions_nobody_waits_for_are_stopped_and_the_next_one_is_answered() {
        let dir = tempfile::tempdir().unwrap();
        let pool = pool(dir.path(), Duration::from_secs(3_600));
        for _ in 0..6 {
            let asking = pool.ask(endless);
            let ended = tokio::time::timeout(Duration::from_millis(5), asking).await;
            assert!(ended.is_err(), "{ended:?}");
        }
        still_answers(&pool).await;
        let all = pool.permits.acquire_many(2).await.unwrap();
        assert_eq!(pool.lock().len(), 2);
        drop(all);
    }

    #[tokio::test]
    async fn a_question_that_panics_does_not_take_its_connection_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let pool = pool(dir.path(), LOOK_UP);
        for _ in 0..3 {
            let failed: Result<(), _> = pool.ask(|_| panic!("on purpose")).await;
            assert!(matches!(failed, Err(StoreError::Unavailable(_))));
        }
        still_answers(&pool).await;
    }
}
