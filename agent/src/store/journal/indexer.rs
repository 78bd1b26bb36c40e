//! The thread that writes the index: one job after the other, on the one connection that may.
//!
//! Owns the connection. Refuses to decide what is written. A broken index file cannot be mended
//! while it is in use, so it ends the process: the next start makes it again.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use rusqlite::Connection;

use super::index::{failed, write};
use super::table::Table;
use crate::store::StoreError;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

pub(super) struct Indexer {
    jobs: SyncSender<Job>,
    thread: JoinHandle<()>,
    taken: SyncSender<rusqlite::Result<()>>,
    outcomes: Receiver<rusqlite::Result<()>>,
}

/// A panic here would leave the index behind for ever; started again it catches up.
pub(super) struct EndsTheProcess;

impl Drop for EndsTheProcess {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}

impl Indexer {
    pub(super) fn start(mut connection: Connection) -> Result<Self, StoreError> {
        let (jobs, queue) = sync_channel::<Job>(4);
        let (taken, outcomes) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("store-indexer".to_owned())
            .spawn(move || {
                let _guard = EndsTheProcess;
                for job in queue {
                    job(&mut connection);
                }
                if let Err((_, error)) = connection.close() {
                    tracing::warn!(%error, "the index did not close");
                }
            })
            .map_err(failed)?;
        Ok(Self {
            jobs,
            thread,
            taken,
            outcomes,
        })
    }

    /// Begins to take a table in; `outcome` tells how it went, then `done` is called.
    pub(super) fn take(&self, table: Arc<Table>, done: impl FnOnce() + Send + 'static) {
        let taken = self.taken.clone();
        let job: Job = Box::new(move |db| {
            let outcome = write::take(db, &table);
            // At most one table is under way, so there is room.
            drop(taken.send(outcome));
            done();
        });
        self.send(job);
    }

    /// How taking the table went; `None` while it is under way.
    pub(super) fn outcome(&self, wait: bool) -> Option<rusqlite::Result<()>> {
        if wait {
            return self.outcomes.recv().ok();
        }
        self.outcomes.try_recv().ok()
    }

    /// Does something else and waits for it.
    pub(super) fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = sync_channel(1);
        self.send(Box::new(move |db| drop(reply.send(work(db)))));
        match answer.recv() {
            Ok(outcome) => outcome.map_err(failed),
            Err(_) => Err(StoreError::Closed),
        }
    }

    /// Finishes what was asked and closes the file.
    pub(super) fn end(self) {
        drop(self.jobs);
        if self.thread.join().is_err() {
            tracing::error!("the indexer ended by a panic");
        }
    }

    fn send(&self, job: Job) {
        // It fails only if the thread has ended, which ends the process.
        drop(self.jobs.send(job));
    }
}
