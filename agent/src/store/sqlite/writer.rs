//! The one writer: a thread that owns the write connection and commits in groups.
//!
//! Jobs wait in a bounded queue. Those found waiting together share one
//! transaction, each in a savepoint of its own so that a faulty one takes
//! nobody with it; their answers leave only after the commit (G1). When a
//! commit fails, every job of the group is told and the next group starts clean.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::StoreError;

/// Jobs that may wait; past it callers are told `Busy`.
const QUEUE: usize = 4_096;
/// Jobs that share one commit.
const GROUP: usize = 256;

type Fault = Arc<rusqlite::Error>;
/// Answers the caller once the fate of the group is known.
type Answer = Box<dyn FnOnce(Result<(), Fault>) + Send>;
/// Does the work; true keeps its changes.
type Job = Box<dyn FnOnce(&Connection) -> (bool, Answer) + Send>;

/// The handle of the writer thread. Dropping the last one ends the thread.
pub(super) struct Writer {
    jobs: SyncSender<Job>,
}

impl Writer {
    pub(super) fn start(connection: Connection) -> std::io::Result<(Self, JoinHandle<()>)> {
        let (jobs, queue) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || run(&connection, &queue))?;
        Ok((Self { jobs }, thread))
    }

    /// Runs `work` in the next group; `committed` sees its result after the commit.
    ///
    /// # Errors
    /// `Busy` when the queue is full; what `work` gave; `Unavailable` when the commit failed.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
        committed: impl FnOnce(&T) + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let outcome = work(connection);
            let keep = outcome.is_ok();
            let finish: Answer = Box::new(move |fate| {
                let outcome = match (outcome, fate) {
                    (Ok(value), Ok(())) => {
                        committed(&value);
                        Ok(value)
                    }
                    (Ok(_), Err(fault)) => Err(StoreError::Unavailable(Box::new(fault))),
                    (Err(error), _) => Err(error),
                };
                // The caller may have gone away; what is committed stays committed.
                drop(reply.send(outcome));
            });
            (keep, finish)
        });
        self.jobs.try_send(job).map_err(|refused| match refused {
            TrySendError::Full(_) => StoreError::Busy,
            TrySendError::Disconnected(_) => StoreError::Closed,
        })?;
        answer.await.map_err(|_| StoreError::Closed)?
    }
}

/// Without its writer an agent could only refuse; started again it works.
struct EndsTheProcess;

impl Drop for EndsTheProcess {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}

fn run(connection: &Connection, queue: &Receiver<Job>) {
    let _guard = EndsTheProcess;
    while let Ok(first) = queue.recv() {
        let group = std::iter::once(first).chain(queue.try_iter().take(GROUP - 1));
        commit(connection, group);
    }
}

fn commit(connection: &Connection, group: impl Iterator<Item = Job>) {
    let mut answers = Vec::new();
    let begun = connection.execute_batch("BEGIN IMMEDIATE");
    for job in group {
        let kept = connection.execute_batch("SAVEPOINT job");
        let (keep, answer) = job(connection);
        answers.push(answer);
        let ended = kept.and_then(|()| {
            let undo = if keep { "" } else { "ROLLBACK TO job; " };
            connection.execute_batch(&format!("{undo}RELEASE job"))
        });
        if let Err(error) = ended {
            tracing::debug!(error = %error, "a savepoint failed; the commit will tell");
        }
    }
    let fate = begun
        .and_then(|()| connection.execute_batch("COMMIT"))
        .map_err(|error| {
            tracing::error!(error = %error, "the store cannot commit");
            if !connection.is_autocommit()
                && let Err(error) = connection.execute_batch("ROLLBACK")
            {
                tracing::error!(error = %error, "the store cannot roll back");
            }
            Arc::new(error)
        });
    for answer in answers {
        answer(fate.clone());
    }
}
