//! Where segment files come from and where they go: made, recycled, given up.
//!
//! Owns spare files and the reserve. Refuses to write groups. Invariants: a file gets
//! the name of a segment only with its header flushed; the last spare, the reserve,
//! goes to urgent appends only.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use thiserror::Error;

use crate::catalog::Catalog;
use crate::io::{Directory, StoredFile, is_full, write_all};
use crate::options::Options;
use crate::position::Position;
use crate::record::Identity;
use crate::segment::{self, BLOCK, Header, MAX_SEQUENCE, Previous, Segment, UNFINISHED};

/// Segments that are given up between two groups.
pub(crate) const AT_ONCE: usize = 4;

/// Why segments could not be given up. Those already given up stay so.
#[derive(Debug, Error)]
pub enum RetainError {
    #[error("the journal's queue is full")]
    Busy,
    #[error("the journal is closed")]
    Closed,
    #[error("a segment cannot be given up")]
    Files(#[source] io::Error),
}

/// Who asks for a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    Ordinary,
    /// May take the reserve when the disk is full.
    Urgent,
}

/// Why there is no new segment.
pub(crate) struct NoSegment {
    pub(crate) source: io::Error,
    /// A header that states the end of the segment before may be on disk under the name of the
    /// next, so nothing more may be written to the one before.
    pub(crate) named: bool,
}

/// Fresh random numbers: they must not be guessable by who sends records.
pub(crate) type Salts = Box<dyn FnMut() -> u64 + Send>;

pub(crate) struct Supply {
    directory: Arc<dyn Directory>,
    segment_bytes: u32,
    most_spares: usize,
    reserve: usize,
    /// Sequences in the names of the spares.
    spares: Vec<u32>,
    spare_bytes: Arc<AtomicU64>,
    salts: Salts,
}

impl Supply {
    pub(crate) fn new(
        directory: Arc<dyn Directory>,
        options: &Options,
        spares: Vec<u32>,
        spare_bytes: Arc<AtomicU64>,
        salts: Salts,
    ) -> Self {
        let reserve = usize::from(options.reserve);
        let supply = Self {
            directory,
            segment_bytes: options.segment_bytes,
            most_spares: options.spare_segments.max(reserve),
            reserve,
            spares,
            spare_bytes,
            salts,
        };
        supply.count();
        supply
    }

    /// Makes the segment that follows `previous`, with an empty file of its name on stable storage.
    pub(crate) fn next(
        &mut self,
        previous: Option<Previous>,
        claim: Claim,
    ) -> Result<(Segment, Arc<dyn StoredFile>), NoSegment> {
        let sequence = previous.map_or(0, |previous| previous.segment) + 1;
        let unnamed = |source| NoSegment {
            source,
            named: false,
        };
        if sequence > MAX_SEQUENCE {
            return Err(unnamed(io::Error::other("no segment number is left")));
        }
        let identity = Identity {
            segment: sequence,
            salt: (self.salts)(),
        };
        let header = Header {
            identity,
            capacity: self.segment_bytes,
            previous,
        };
        let (name, file) = self.blank(claim).map_err(unnamed)?;
        let written = write_all(file.as_ref(), &header.encode(), 0).and_then(|()| file.sync());
        if let Err(source) = written {
            // Its pages cannot be trusted any more, so it is no spare either.
            self.discard(&name);
            return Err(unnamed(source));
        }
        self.directory
            .rename(&name, &segment::name(sequence))
            .and_then(|()| self.directory.sync_directory())
            .map_err(|source| NoSegment {
                source,
                named: true,
            })?;
        Ok((Segment::new(identity, self.segment_bytes, BLOCK), file))
    }

    /// A file of the right size, with whatever in it.
    fn blank(&mut self, claim: Claim) -> io::Result<(String, Arc<dyn StoredFile>)> {
        if self.spares.len() <= self.reserve {
            match self.create() {
                Ok(file) => return Ok((UNFINISHED.to_owned(), file)),
                Err(error) if claim == Claim::Ordinary || !is_full(&error) => return Err(error),
                Err(error) if self.spares.is_empty() => return Err(error),
                Err(_) => {}
            }
        }
        let spare = self.spares.pop().expect("there is one: checked above");
        self.count();
        let name = segment::spare_name(spare);
        let file = self.directory.open(&name);
        file.map(|file| (name, file))
    }

    fn create(&self) -> io::Result<Arc<dyn StoredFile>> {
        let file = self
            .directory
            .create(UNFINISHED, u64::from(self.segment_bytes));
        if file.is_err() {
            self.discard(UNFINISHED);
        }
        file
    }

    /// Best effort: what stays is removed by the next recovery.
    fn discard(&self, name: &str) {
        if let Err(error) = self.directory.remove(name) {
            tracing::debug!(%error, file = name, "leftover file stays");
        }
    }

    pub(crate) fn has_reserve(&self) -> bool {
        self.spares.len() >= self.reserve
    }

    /// Makes the reserve if it is not there.
    pub(crate) fn make_reserve(&mut self) -> io::Result<()> {
        if self.has_reserve() {
            return Ok(());
        }
        // No segment has number 0, so no spare has it from an earlier life.
        let file = self.create()?;
        drop(file);
        self.directory.rename(UNFINISHED, &segment::spare_name(0))?;
        self.spares.push(0);
        self.count();
        Ok(())
    }

    /// Gives up segments wholly below the position, oldest first, a few at most: each costs a
    /// flush of the directory, and appends wait meanwhile. Gives how many.
    pub(crate) fn retain(&mut self, catalog: &Catalog, below: Position) -> io::Result<usize> {
        let sequences = catalog.sequences();
        let newest = sequences.last().copied().unwrap_or(0);
        let most = below.segment.min(newest);
        let mut given_up = 0;
        for sequence in sequences
            .into_iter()
            .take_while(|number| *number < most)
            .take(AT_ONCE)
        {
            self.give_up(catalog, sequence)?;
            given_up += 1;
        }
        Ok(given_up)
    }

    fn give_up(&mut self, catalog: &Catalog, sequence: u32) -> io::Result<()> {
        let name = segment::name(sequence);
        let segment = catalog.get(sequence);
        let bytes = segment.map_or(0, |segment| segment.bytes.load(Ordering::Relaxed));
        let recycle = bytes == self.segment_bytes && self.spares.len() < self.most_spares;
        // First, so that a reader who misses the file knows why.
        let removed = catalog.remove(sequence);
        let moved = if recycle {
            let spare = segment::spare_name(sequence);
            self.directory.rename(&name, &spare)
        } else {
            self.directory.remove(&name)
        };
        if let Err(error) = moved {
            catalog.put_back(removed);
            return Err(error);
        }
        self.directory.sync_directory()?;
        if recycle {
            self.spares.push(sequence);
            self.count();
        }
        Ok(())
    }

    fn count(&self) {
        let bytes = self.spares.len() as u64 * u64::from(self.segment_bytes);
        self.spare_bytes.store(bytes, Ordering::Relaxed);
    }
}
