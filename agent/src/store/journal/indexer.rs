//! The thread that writes the index: one job after the other, on the one connection that may.
//!
//! Owns the connection. Refuses to decide what is written. Nobody has to wait for a job: its
//! outcome is looked for. A broken index file cannot be mended while it is in use, so it ends the
//! process: the next start makes it again.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::{Connection, InterruptHandle};

use super::index::{failed, write};
use super::table::Table;
use crate::store::StoreError;

/// Between looks whether the thread has ended.
const LOOK: Duration = Duration::from_millis(2);

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

pub(super) struct Indexer {
    jobs: SyncSender<Job>,
    thread: JoinHandle<()>,
    interrupt: InterruptHandle,
}

/// A job that was handed in and has not ended yet.
pub(super) struct Running<T>(Receiver<rusqlite::Result<T>>);

impl<T> Running<T> {
    /// How it ended, waiting at most so long; `None` while it goes on.
    pub(super) fn outcome(&self, wait: Duration) -> Option<rusqlite::Result<T>> {
        if wait.is_zero() {
            return self.0.try_recv().ok();
        }
        self.0.recv_timeout(wait).ok()
    }
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
        let interrupt = connection.get_interrupt_handle();
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
            interrupt,
        })
    }

    /// Begins to take a table in; `done` is called when that has ended.
    pub(super) fn take(
        &self,
        table: Arc<Table>,
        done: impl FnOnce() + Send + 'static,
    ) -> Running<()> {
        self.begin(move |db| write::take(db, &table), done)
    }

    /// Begins something else.
    pub(super) fn begin<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
        done: impl FnOnce() + Send + 'static,
    ) -> Running<T> {
        let (reply, answer) = sync_channel(1);
        let job: Job = Box::new(move |db| {
            drop(reply.send(work(db)));
            done();
        });
        // It fails only if the thread has ended, which ends the process.
        drop(self.jobs.send(job));
        Running(answer)
    }

    /// Finishes what was asked and closes the file. What takes longer than until the deadline is
    /// broken off: the next start does it.
    pub(super) fn end(self, by: Instant) {
        drop(self.jobs);
        while !self.thread.is_finished() {
            if Instant::now() >= by {
                self.interrupt.interrupt();
            }
            std::thread::sleep(LOOK);
        }
        if self.thread.join().is_err() {
            tracing::error!("the indexer ended by a panic");
        }
    }
}
