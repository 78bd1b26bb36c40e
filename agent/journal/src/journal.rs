//! The handle of a journal: append, read, scan, give up.
//!
//! Owns the bounds at the door. Refuses to touch files: the writer and the readers do.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use thiserror::Error;
use tokio::sync::oneshot;

use crate::answers::{Appending, Reply};
use crate::catalog::{Catalog, SegmentInfo};
use crate::group::Summed;
use crate::io::Directory;
use crate::options::{Options, OptionsError};
use crate::position::Position;
use crate::queue::{AppendError, Batch, Budget, Job, Told, Witness};
use crate::read::{self, ReadError};
use crate::record::Record;
use crate::recovery::{self, Recovery};
use crate::scan::Scan;
use crate::supply::{AT_ONCE, Claim, RetainError, Supply};
use crate::writer::{Active, Figures, Health, Shared, Writer};

/// Why a journal was not opened.
#[derive(Debug, Error)]
pub enum OpenError {
    #[error(transparent)]
    Options(#[from] OptionsError),
    #[error("the journal's files cannot be used")]
    Files {
        #[source]
        source: io::Error,
    },
    #[error("segment {sequence} of the journal cannot be used")]
    Segment {
        sequence: u32,
        #[source]
        source: io::Error,
    },
    #[error("{name} has format version {version}, which this program does not know")]
    Version { name: String, version: u32 },
}

/// An open journal. Clones share it; the last one to go closes it and waits for the writer.
#[derive(Clone)]
pub struct Journal {
    inner: Arc<Inner>,
}

struct Inner {
    catalog: Arc<Catalog>,
    shared: Arc<Shared>,
    options: Options,
    jobs: SyncSender<Job>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Journal {
    /// Opens the journal in a directory, making it if there is none. `salts` gives random numbers
    /// that senders of records cannot guess.
    ///
    /// Damage to what is stored does not keep a journal from opening: it is in the report.
    ///
    /// # Errors
    /// Contradicting options, a newer format, or what the file system says.
    pub fn open(
        directory: Arc<dyn Directory>,
        options: Options,
        salts: impl FnMut() -> u64 + Send + 'static,
    ) -> Result<(Self, Recovery), OpenError> {
        options.check()?;
        let recovered = recovery::recover(directory.as_ref(), options.segment_bytes)?;
        let shared = Arc::new(Shared::default());
        let catalog = Arc::new(Catalog::new(directory.clone(), recovered.segments));
        let active = recovered.active.zip(catalog.newest());
        let writer = Writer {
            supply: Supply::new(
                directory,
                &options,
                recovered.spares,
                shared.spare_bytes.clone(),
                Box::new(salts),
            ),
            catalog: catalog.clone(),
            options: options.clone(),
            shared: shared.clone(),
            active: active.map(|(file, segment)| Active {
                capacity: segment.bytes.load(Ordering::Relaxed),
                segment,
                file,
            }),
            abandoned: None,
            unmarked: false,
            pause: None,
            buffer: Vec::new(),
        };
        let (jobs, queue) = sync_channel(options.queue_batches);
        let thread = std::thread::Builder::new()
            .name("journal-writer".to_owned())
            .spawn(move || writer.run(&queue))
            .map_err(|source| OpenError::Files { source })?;
        let inner = Inner {
            catalog,
            shared,
            options,
            jobs,
            thread: Mutex::new(Some(thread)),
        };
        let inner = Arc::new(inner);
        Ok((Self { inner }, recovered.report))
    }

    /// Hands a batch in. The order of calls is the order of positions; the batch is on stable
    /// storage, whole, when the answer comes. An empty batch is answered without a write.
    ///
    /// # Errors
    /// `Busy`, `TooLarge` and `Closed` at once; the others come with the answer.
    pub fn append(&self, records: Vec<Record>) -> Result<Appending, AppendError> {
        self.submit(records, Claim::Ordinary, None)
    }

    /// As `append`, for what must get through on a full disk: it may use the reserve.
    ///
    /// # Errors
    /// As `append`.
    pub fn append_urgent(&self, records: Vec<Record>) -> Result<Appending, AppendError> {
        self.submit(records, Claim::Urgent, None)
    }

    /// As `append_witnessed`, for who wants to hear of the outcome only.
    ///
    /// # Errors
    /// As `append`.
    pub fn append_telling(
        &self,
        records: Vec<Record>,
        urgent: bool,
        told: impl FnOnce(&Result<Vec<Position>, AppendError>) + Send + 'static,
    ) -> Result<Appending, AppendError> {
        self.append_witnessed(records, urgent, Box::new(Told(told)))
    }

    /// As `append` or, if it is urgent, `append_urgent`; besides, somebody hears what becomes of
    /// the batch.
    ///
    /// # Errors
    /// As `append`.
    pub fn append_witnessed(
        &self,
        records: Vec<Record>,
        urgent: bool,
        witness: Box<dyn Witness>,
    ) -> Result<Appending, AppendError> {
        let claim = if urgent {
            Claim::Urgent
        } else {
            Claim::Ordinary
        };
        self.submit(records, claim, Some(witness))
    }

    fn submit(
        &self,
        records: Vec<Record>,
        claim: Claim,
        witness: Option<Box<dyn Witness>>,
    ) -> Result<Appending, AppendError> {
        let inner = &self.inner;
        let (reply, answer) = Reply::new();
        let bytes = records.iter().map(Record::stored_len).sum();
        let limit = inner.options.batch_bytes;
        if bytes > limit {
            return Err(AppendError::TooLarge { bytes, limit });
        }
        if records.is_empty() {
            let outcome = Ok(Vec::new());
            if let Some(witness) = witness {
                witness.decided(&outcome);
            }
            reply.send(outcome);
            return Ok(answer);
        }
        let queued = &inner.shared.queued_bytes;
        let budget = Budget::take(queued, bytes, inner.options.queue_bytes);
        let batch = Batch {
            _budget: budget.ok_or(AppendError::Busy)?,
            records: records.into_iter().map(Summed::new).collect(),
            bytes,
            claim,
            reply,
            witness,
        };
        let sent = inner.jobs.try_send(Job::Append(batch));
        sent.map_err(|refused| match refused {
            TrySendError::Full(_) => AppendError::Busy,
            TrySendError::Disconnected(_) => AppendError::Closed,
        })?;
        Ok(answer)
    }

    /// Reads one record. Blocks on the disk.
    ///
    /// # Errors
    /// `Beyond`, `Gone`, or what is wrong with the record or the disk.
    pub fn read(&self, position: Position) -> Result<Record, ReadError> {
        read::read(&self.inner.catalog, position)
    }

    /// Reads in order from a position that an append or a scan gave, or from `Position::START`.
    pub fn scan(&self, from: Position) -> Scan {
        Scan::new(self.inner.catalog.clone(), from)
    }

    /// Gives up the segments that lie wholly below the position, a few at a time with appends in
    /// between. Gives how many went.
    ///
    /// # Errors
    /// `Busy`, `Closed`, or what the file system says.
    pub async fn retain(&self, below: Position) -> Result<usize, RetainError> {
        let mut gone = 0;
        loop {
            let (reply, answer) = oneshot::channel();
            let sent = self.inner.jobs.try_send(Job::Retain { below, reply });
            sent.map_err(|refused| match refused {
                TrySendError::Full(_) => RetainError::Busy,
                TrySendError::Disconnected(_) => RetainError::Closed,
            })?;
            let some = answer.await.unwrap_or(Err(RetainError::Closed))?;
            gone += some;
            if some < AT_ONCE {
                return Ok(gone);
            }
        }
    }

    /// As `retain`, waiting on this thread. Not for asynchronous code.
    ///
    /// # Errors
    /// As `retain`.
    pub fn retain_and_wait(&self, below: Position) -> Result<usize, RetainError> {
        let mut gone = 0;
        loop {
            let (reply, answer) = oneshot::channel();
            let sent = self.inner.jobs.send(Job::Retain { below, reply });
            sent.map_err(|_| RetainError::Closed)?;
            let some = answer.blocking_recv().unwrap_or(Err(RetainError::Closed))?;
            gone += some;
            if some < AT_ONCE {
                return Ok(gone);
            }
        }
    }

    /// The segments there are, oldest first.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        self.inner.catalog.infos()
    }

    /// Start of the oldest segment; `None` before the first append.
    pub fn oldest(&self) -> Option<Position> {
        self.segments().first().map(|segment| segment.start)
    }

    /// Just behind the last acknowledged record; `None` before the first append.
    pub fn end(&self) -> Option<Position> {
        let newest = self.inner.catalog.newest()?;
        Some(Position::new(newest.sequence(), newest.end()))
    }

    /// Bytes of all files, spares included.
    pub fn size_on_disk(&self) -> u64 {
        let segments: u64 = self.segments().iter().map(|segment| segment.bytes).sum();
        segments + self.inner.shared.spare_bytes.load(Ordering::Relaxed)
    }

    pub fn health(&self) -> Health {
        self.inner.shared.health()
    }

    pub fn figures(&self) -> Figures {
        self.inner.shared.figures()
    }

    /// Stores what was handed in before, then ends the writer; later appends are `Closed`. Blocks.
    /// Reading goes on to work.
    pub fn close(&self) {
        self.inner.close();
    }
}

impl Inner {
    fn close(&self) {
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            // It fails only if the thread has ended already.
            drop(self.jobs.send(Job::Close));
            if thread.join().is_err() {
                tracing::error!("journal writer ended in a panic");
            }
            self.catalog.release();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}
