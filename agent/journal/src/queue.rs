//! What waits for the writer: batches with their callers and witnesses, and orders.
//!
//! Owns the bounds on what waits and who hears of its fate. Invariant: bytes
//! are counted from submission until the fate of the batch is decided.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use thiserror::Error;
use tokio::sync::oneshot;

use crate::answers::Reply;
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
    pub(crate) reply: Reply,
    pub(crate) witness: Option<Box<dyn Witness>>,
    pub(crate) _budget: Budget,
}

/// Where a batch stands.
#[derive(Clone, Copy, Debug)]
pub struct Placed<'a> {
    /// Of its records, in their order.
    pub positions: &'a [Position],
    /// Where a scan stands that would find the first of them next.
    pub from: Position,
    /// Where it stands behind the last of them.
    pub next: Position,
}

/// Hears on the writer's thread what becomes of a batch, whether or not anybody waits for the
/// answer. It has to be quick and must not wait. It is dropped unheard when the batch is refused at
/// the door or never gets its turn.
pub trait Witness: Send {
    /// The batch is on stable storage, but the new end is not published, so that it cannot be read
    /// yet. Batches are placed in the order of their positions.
    fn placed(&mut self, placed: Placed<'_>);

    /// After the new end is published, and before the caller is answered.
    fn decided(self: Box<Self>, outcome: &Result<Vec<Position>, AppendError>);
}

/// A closure that hears of the outcome only.
pub(crate) struct Told<F>(pub(crate) F);

impl<F: FnOnce(&Outcome) + Send> Witness for Told<F> {
    fn placed(&mut self, _: Placed<'_>) {}

    fn decided(self: Box<Self>, outcome: &Outcome) {
        (self.0)(outcome);
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
