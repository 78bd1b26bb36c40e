//! What waits for the writer: batches with their callers, and orders.
//!
//! Owns the bounds on what waits and the caller's side of the answer. Invariant: bytes
//! are counted from submission until the batch has been answered.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use thiserror::Error;
use tokio::sync::oneshot;

use crate::group::Summed;
use crate::position::Position;
use crate::supply::{Claim, RetainError};

/// Why a batch was not stored. Nothing of it is promised.
#[derive(Clone, Debug, Error)]
pub enum AppendError {
    #[error("the journal's queue is full")]
    Busy,
    #[error("a batch of {bytes} bytes is above the limit of {limit}")]
    TooLarge { bytes: usize, limit: usize },
    /// No space. Tried again by itself; what is stored can be read.
    #[error("the journal's disk is full")]
    Full(#[source] Arc<io::Error>),
    /// A write or a flush failed. Tried again by itself; what is stored can be read.
    #[error("the journal's disk failed")]
    Failed(#[source] Arc<io::Error>),
    /// The journal was closed before this batch's turn came.
    #[error("the journal is closed")]
    Closed,
}

pub(crate) type Outcome = Result<Vec<Position>, AppendError>;

pub(crate) struct Batch {
    pub(crate) records: Vec<Summed>,
    /// Bytes of the records, headers included.
    pub(crate) bytes: usize,
    pub(crate) claim: Claim,
    pub(crate) reply: oneshot::Sender<Outcome>,
    /// Told before the caller is, on the writer's thread.
    pub(crate) told: Option<Told>,
    pub(crate) _budget: Budget,
}

pub(crate) type Told = Box<dyn FnOnce(&Outcome) + Send>;

impl Batch {
    pub(crate) fn answer(self, outcome: Outcome) {
        if let Some(told) = self.told {
            told(&outcome);
        }
        // The caller may have gone away; what is stored stays stored.
        drop(self.reply.send(outcome));
    }
}

pub(crate) enum Job {
    Append(Batch),
    Retain {
        below: Position,
        reply: oneshot::Sender<Result<usize, RetainError>>,
    },
    Close,
}

/// A share of the bytes that may wait.
pub(crate) struct Budget {
    used: Arc<AtomicUsize>,
    bytes: usize,
}

impl Budget {
    pub(crate) fn take(used: &Arc<AtomicUsize>, bytes: usize, limit: usize) -> Option<Self> {
        let add = |now: usize| Some(now + bytes).filter(|sum| *sum <= limit);
        used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add)
            .ok()?;
        Some(Self {
            used: used.clone(),
            bytes,
        })
    }
}

impl Drop for Budget {
    fn drop(&mut self) {
        self.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The answer to come. Dropping it does not take the batch back.
#[derive(Debug)]
pub struct Appending(pub(crate) oneshot::Receiver<Outcome>);

impl Appending {
    /// Waits on this thread. Not for asynchronous code, which awaits instead.
    ///
    /// # Errors
    /// As awaiting.
    pub fn wait(self) -> Result<Vec<Position>, AppendError> {
        self.0.blocking_recv().unwrap_or(Err(AppendError::Closed))
    }
}

impl Future for Appending {
    /// The positions of the records, in their order, all on stable storage.
    type Output = Result<Vec<Position>, AppendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = Pin::new(&mut self.0).poll(context);
        answer.map(|answer| answer.unwrap_or(Err(AppendError::Closed)))
    }
}
