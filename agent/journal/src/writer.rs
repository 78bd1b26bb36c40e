//! The one thread that writes: takes what waits, commits it as one group, answers.
//!
//! Owns the active segment and what happens when the disk fails. Invariants: at most one
//! group is written and not acknowledged; a file is never flushed again after a flush of
//! it failed; witnesses see their places after the flush and before the end is published, and the
//! end is published before anybody is told of the outcome.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Instant;

use crate::answers::Answers;
use crate::catalog::Catalog;
use crate::group;
use crate::io::{StoredFile, is_full, write_all};
use crate::options::Options;
use crate::position::Position;
use crate::queue::{AppendError, Batch, Job, Outcome, Placed};
use crate::segment::{Previous, Segment};
use crate::supply::{Claim, RetainError, Supply};

/// Above it the buffer's memory is given back after a group.
const KEPT_BUFFER: usize = 8 << 20;

/// Whether appends succeed, as of the last one tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    Writable,
    /// No space for ordinary appends; urgent ones may succeed.
    Full,
    Failing,
}

/// Counters since the journal was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Groups flushed; as many flushes succeeded.
    pub groups: u64,
    pub records: u64,
    pub payload_bytes: u64,
    /// Bytes written for groups and segment headers.
    pub written_bytes: u64,
    /// Writes, flushes and new segments that failed.
    pub failures: u64,
}

/// What the handles see of the writer.
#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) queued_bytes: Arc<AtomicUsize>,
    pub(crate) spare_bytes: Arc<AtomicU64>,
    health: AtomicU8,
    groups: AtomicU64,
    records: AtomicU64,
    payload_bytes: AtomicU64,
    written_bytes: AtomicU64,
    failures: AtomicU64,
}

impl Shared {
    pub(crate) fn health(&self) -> Health {
        match self.health.load(Ordering::Relaxed) {
            0 => Health::Writable,
            1 => Health::Full,
            _ => Health::Failing,
        }
    }

    pub(crate) fn figures(&self) -> Figures {
        Figures {
            groups: self.groups.load(Ordering::Relaxed),
            records: self.records.load(Ordering::Relaxed),
            payload_bytes: self.payload_bytes.load(Ordering::Relaxed),
            written_bytes: self.written_bytes.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
        }
    }
}

/// The segment being written.
pub(crate) struct Active {
    pub(crate) segment: Arc<Segment>,
    pub(crate) file: Arc<dyn StoredFile>,
    pub(crate) capacity: u32,
}

impl Active {
    fn room(&self) -> usize {
        (self.capacity - self.segment.end()) as usize
    }
}

pub(crate) struct Writer {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) supply: Supply,
    pub(crate) options: Options,
    pub(crate) shared: Arc<Shared>,
    pub(crate) active: Option<Active>,
    /// A segment sealed because it failed; cut off once the next one stands.
    pub(crate) abandoned: Option<Active>,
    /// Something was stored since the journal was opened, so closing leaves a mark.
    pub(crate) unmarked: bool,
    /// Until when appends are refused at once, and how.
    pub(crate) pause: Option<(Instant, AppendError)>,
    pub(crate) buffer: Vec<u8>,
}

/// Without its writer a journal could only refuse; started again it works.
struct EndsTheProcess;

impl Drop for EndsTheProcess {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}

impl Writer {
    /// Runs until closed or until nobody can hand anything in any more.
    pub(crate) fn run(mut self, queue: &Receiver<Job>) {
        let _guard = EndsTheProcess;
        let mut held = None;
        // Now rather than in the first append; the outcome shows in the health.
        drop(self.missing_reserve());
        loop {
            let job = match held.take() {
                Some(job) => job,
                None => match self.wait(queue) {
                    Ok(job) => job,
                    Err(RecvTimeoutError::Timeout) => {
                        self.probe();
                        continue;
                    }
                    Err(RecvTimeoutError::Disconnected) => break,
                },
            };
            match job {
                Job::Append(first) => {
                    let (group, next) = self.gather(first, queue);
                    held = next;
                    self.commit(group);
                }
                Job::Retain { below, reply } => {
                    let outcome = self.supply.retain(&self.catalog, below);
                    drop(reply.send(outcome.map_err(RetainError::Files)));
                }
                Job::Close => break,
            }
        }
        self.mark();
    }

    fn wait(&self, queue: &Receiver<Job>) -> Result<Job, RecvTimeoutError> {
        let pause = self.options.failure_pause;
        if self.shared.health() == Health::Writable || pause.is_zero() {
            queue.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            queue.recv_timeout(pause)
        }
    }

    /// Takes the batches that wait, up to the bounds of a group, and the job that did not fit.
    fn gather(&self, first: Batch, queue: &Receiver<Job>) -> (Vec<Batch>, Option<Job>) {
        let (mut records, mut bytes) = (first.records.len(), first.bytes);
        let limit = self.options.group_limit();
        let mut group = vec![first];
        while records < self.options.group_records {
            match queue.try_recv() {
                Ok(Job::Append(batch)) if bytes + batch.bytes <= limit => {
                    records += batch.records.len();
                    bytes += batch.bytes;
                    group.push(batch);
                }
                Ok(job) => return (group, Some(job)),
                Err(_) => break,
            }
        }
        (group, None)
    }

    fn commit(&mut self, group: Vec<Batch>) {
        let refused = self.refusal();
        if let Some(error @ AppendError::Failed(_)) = refused {
            return answer_all(group, &error);
        }
        let refused = refused.or_else(|| self.missing_reserve());
        let mut group = match refused {
            Some(error) => urgent_only(group, &error),
            None => group,
        };
        if group.is_empty() {
            return;
        }
        match self.store(&mut group, Claim::Ordinary) {
            Ok(positions) => answer(group, positions),
            Err(error @ AppendError::Full(_)) => {
                let mut group = urgent_only(group, &error);
                if group.is_empty() {
                    return;
                }
                match self.store(&mut group, Claim::Urgent) {
                    Ok(positions) => answer(group, positions),
                    Err(error) => answer_all(group, &error),
                }
            }
            Err(error) => answer_all(group, &error),
        }
    }

    /// The answer of a pause that is not over.
    fn refusal(&self) -> Option<AppendError> {
        let (until, error) = self.pause.as_ref()?;
        (Instant::now() < *until).then(|| error.clone())
    }

    fn missing_reserve(&mut self) -> Option<AppendError> {
        let made = self.supply.make_reserve();
        made.err().map(|error| self.failed(error))
    }

    /// Writes and flushes a group; after a failure once more, in a new segment.
    fn store(&mut self, group: &mut [Batch], claim: Claim) -> Result<Vec<Position>, AppendError> {
        let stored = match self.try_store(group, claim) {
            Err(error) if !is_full(&error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "journal group failed; writing it again elsewhere"
                );
                self.shared.failures.fetch_add(1, Ordering::Relaxed);
                self.try_store(group, claim)
            }
            outcome => outcome,
        };
        match stored {
            Ok(positions) => {
                // An urgent group that got through says nothing about ordinary ones.
                if claim == Claim::Ordinary && self.supply.has_reserve() {
                    self.recovered();
                }
                Ok(positions)
            }
            Err(error) => Err(self.failed(error)),
        }
    }

    fn try_store(&mut self, group: &mut [Batch], claim: Claim) -> io::Result<Vec<Position>> {
        let bytes = group.iter().map(|batch| batch.bytes).sum();
        let active = self.room_for(group::padded(bytes), claim)?;
        let (segment, file) = (active.segment.clone(), active.file.clone());
        let at = segment.end();
        let records = group.iter().flat_map(|batch| &batch.records);
        let positions = group::encode(records, segment.identity, at, &mut self.buffer);
        let written = write_all(file.as_ref(), &self.buffer, u64::from(at));
        if let Err(error) = written {
            // Without space nothing is broken, and the place can be written again.
            if !is_full(&error) {
                self.abandoned = self.active.take();
            }
            return Err(error);
        }
        if let Err(error) = file.sync() {
            self.abandoned = self.active.take();
            return Err(error);
        }
        let length = u32::try_from(self.buffer.len()).expect("a group fits a segment");
        let place = |offset| Position::new(segment.sequence(), offset);
        show_places(group, &positions, place(at), place(at + length));
        segment.publish(at + length);
        self.unmarked = !positions.is_empty() || self.unmarked;
        self.count(group, positions.len());
        if self.buffer.capacity() > KEPT_BUFFER {
            self.buffer = Vec::new();
        }
        Ok(positions)
    }

    /// The active segment, a new one if it has no room.
    fn room_for(&mut self, bytes: usize, claim: Claim) -> io::Result<&Active> {
        let fits = |active: &Active| active.room() >= bytes;
        if !self.active.as_ref().is_some_and(fits) {
            let previous = self.catalog.newest().map(|newest| Previous {
                segment: newest.sequence(),
                end: newest.end(),
            });
            let (segment, file) = self.supply.next(previous, claim).map_err(|failed| {
                if failed.named {
                    self.active = None;
                }
                failed.source
            })?;
            let segment = Arc::new(segment);
            self.catalog.add(segment.clone(), file.clone());
            let capacity = segment.bytes.load(Ordering::Relaxed);
            self.shared
                .written_bytes
                .fetch_add(u64::from(crate::segment::BLOCK), Ordering::Relaxed);
            self.active = Some(Active {
                segment,
                file,
                capacity,
            });
            self.trim();
        }
        Ok(self.active.as_ref().expect("set above"))
    }

    /// Cuts a segment that failed off at its end: what lies beyond counts no more.
    fn trim(&mut self) {
        if let Some(Active { segment, file, .. }) = self.abandoned.take() {
            let end = segment.end();
            match file.truncate(u64::from(end)) {
                Ok(()) => segment.bytes.store(end, Ordering::Relaxed),
                Err(error) => tracing::debug!(%error, "failed journal segment keeps its length"),
            }
        }
    }

    /// Sees whether the disk works again when nobody else would find out.
    fn probe(&mut self) {
        if self.missing_reserve().is_none() {
            // The outcome is the health it leaves.
            drop(self.store(&mut [], Claim::Ordinary));
        }
    }

    /// Tells the next recovery that the last group was acknowledged.
    fn mark(&mut self) {
        let room = self.active.as_ref().is_some_and(|active| active.room() > 0);
        if room && self.unmarked && self.shared.health() == Health::Writable {
            drop(self.store(&mut [], Claim::Ordinary));
        }
    }

    fn failed(&mut self, error: io::Error) -> AppendError {
        let (health, code) = if is_full(&error) {
            (Health::Full, 1)
        } else {
            (Health::Failing, 2)
        };
        if self.shared.health() != health {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "journal cannot write"
            );
        }
        self.shared.failures.fetch_add(1, Ordering::Relaxed);
        self.shared.health.store(code, Ordering::Relaxed);
        let error = Arc::new(error);
        let error = match health {
            Health::Full => AppendError::Full(error),
            Health::Writable | Health::Failing => AppendError::Failed(error),
        };
        let until = Instant::now() + self.options.failure_pause;
        self.pause = Some((until, error.clone()));
        error
    }

    fn recovered(&mut self) {
        self.pause = None;
        if self.shared.health.swap(0, Ordering::Relaxed) != 0 {
            tracing::info!("journal writes again");
        }
    }

    fn count(&self, group: &[Batch], records: usize) {
        let payload = group.iter().flat_map(|batch| &batch.records);
        let payload: usize = payload.map(|summed| summed.record.payload.len()).sum();
        let add = |counter: &AtomicU64, by: usize| counter.fetch_add(by as u64, Ordering::Relaxed);
        add(&self.shared.groups, 1);
        add(&self.shared.records, records);
        add(&self.shared.payload_bytes, payload);
        add(&self.shared.written_bytes, self.buffer.len());
    }
}

/// Shows the witnesses of a group that stands between two places where their batches are.
fn show_places(group: &mut [Batch], mut positions: &[Position], begin: Position, end: Position) {
    let mut from = begin;
    for batch in group {
        let (own, rest) = positions.split_at(batch.records.len());
        let next = rest.first().copied().unwrap_or(end);
        if let Some(witness) = &mut batch.witness {
            witness.placed(Placed {
                positions: own,
                from,
                next,
            });
        }
        (positions, from) = (rest, next);
    }
}

fn answer(group: Vec<Batch>, positions: Vec<Position>) {
    let mut positions = positions.into_iter();
    answer_each(group, |batch| {
        Ok(positions.by_ref().take(batch.records.len()).collect())
    });
}

fn answer_all(group: Vec<Batch>, error: &AppendError) {
    answer_each(group, |_| Err(error.clone()));
}

/// First all witnesses are told, then the callers: those are woken together.
fn answer_each(group: Vec<Batch>, mut outcome_of: impl FnMut(&Batch) -> Outcome) {
    let mut answers = Answers::default();
    for batch in group {
        let outcome = outcome_of(&batch);
        if let Some(witness) = batch.witness {
            witness.decided(&outcome);
        }
        answers.add(batch.reply, outcome);
    }
    answers.send();
}

/// Refuses the ordinary batches and gives the others.
fn urgent_only(group: Vec<Batch>, error: &AppendError) -> Vec<Batch> {
    let (urgent, ordinary) = group
        .into_iter()
        .partition(|batch| batch.claim == Claim::Urgent);
    answer_all(ordinary, error);
    urgent
}
