//! The table of segments, shared between the writer and the readers.
//!
//! Owns which segments exist and the handles open for reading. Refuses to change files.
//! Invariant: sequences in it have no gap but those that recovery reported.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::io::{Directory, StoredFile};
use crate::position::Position;
use crate::segment::{self, BLOCK, Segment};

/// Files kept open for reading, beside the active one.
const OPEN_FILES: usize = 64;

/// One segment, for a caller that decides about retention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    pub sequence: u32,
    /// A scan from here begins with its first record.
    pub start: Position,
    /// Just behind its last record.
    pub end: Position,
    /// Bytes on disk.
    pub bytes: u64,
}

type Handle = (u32, Arc<dyn StoredFile>);

pub(crate) struct Catalog {
    directory: Arc<dyn Directory>,
    segments: RwLock<BTreeMap<u32, Arc<Segment>>>,
    /// Latest last.
    handles: Mutex<VecDeque<Handle>>,
}

impl Catalog {
    pub(crate) fn new(directory: Arc<dyn Directory>, segments: Vec<Segment>) -> Self {
        let segments = segments
            .into_iter()
            .map(|segment| (segment.sequence(), Arc::new(segment)))
            .collect();
        Self {
            directory,
            segments: RwLock::new(segments),
            handles: Mutex::new(VecDeque::new()),
        }
    }

    /// The writer has ended.
    pub(crate) fn release(&self) {
        self.directory.release();
    }

    pub(crate) fn get(&self, sequence: u32) -> Option<Arc<Segment>> {
        self.read(|segments| segments.get(&sequence).cloned())
    }

    /// The first segment with a higher sequence.
    pub(crate) fn after(&self, sequence: u32) -> Option<Arc<Segment>> {
        self.read(|segments| {
            let mut higher = segments.range(sequence.saturating_add(1)..);
            higher.next().map(|(_, segment)| segment.clone())
        })
    }

    pub(crate) fn newest(&self) -> Option<Arc<Segment>> {
        self.read(|segments| segments.last_key_value().map(|(_, last)| last.clone()))
    }

    /// Sequences of all segments, oldest first.
    pub(crate) fn sequences(&self) -> Vec<u32> {
        self.read(|segments| segments.keys().copied().collect())
    }

    pub(crate) fn infos(&self) -> Vec<SegmentInfo> {
        let info = |segment: &Arc<Segment>| SegmentInfo {
            sequence: segment.sequence(),
            start: Position::new(segment.sequence(), BLOCK),
            end: Position::new(segment.sequence(), segment.end()),
            bytes: u64::from(segment.bytes.load(Ordering::Relaxed)),
        };
        self.read(|segments| segments.values().map(info).collect())
    }

    pub(crate) fn add(&self, segment: Arc<Segment>, file: Arc<dyn StoredFile>) {
        let sequence = segment.sequence();
        self.write(|segments| segments.insert(sequence, segment));
        self.keep(sequence, file);
    }

    pub(crate) fn remove(&self, sequence: u32) -> Option<Arc<Segment>> {
        let removed = self.write(|segments| segments.remove(&sequence));
        self.forget(sequence);
        removed
    }

    /// Undoes `remove`.
    pub(crate) fn put_back(&self, removed: Option<Arc<Segment>>) {
        if let Some(segment) = removed {
            self.write(|segments| segments.insert(segment.sequence(), segment));
        }
    }

    /// A handle to read the segment with.
    pub(crate) fn file(&self, segment: &Segment) -> io::Result<Arc<dyn StoredFile>> {
        let sequence = segment.sequence();
        let found = {
            let handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
            let of_segment = handles.iter().find(|(kept, _)| *kept == sequence);
            of_segment.map(|(_, file)| file.clone())
        };
        if let Some(file) = found {
            return Ok(file);
        }
        let file = self.directory.open(&segment::name(sequence))?;
        self.keep(sequence, file.clone());
        // Given up meanwhile: a handle kept now would hold a deleted file's space.
        if self.get(sequence).is_none() {
            self.forget(sequence);
        }
        Ok(file)
    }

    fn forget(&self, sequence: u32) {
        let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        handles.retain(|(kept, _)| *kept != sequence);
    }

    fn keep(&self, sequence: u32, file: Arc<dyn StoredFile>) {
        let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        handles.retain(|(kept, _)| *kept != sequence);
        if handles.len() >= OPEN_FILES {
            handles.pop_front();
        }
        handles.push_back((sequence, file));
    }

    fn read<T>(&self, look: impl FnOnce(&BTreeMap<u32, Arc<Segment>>) -> T) -> T {
        look(&self.segments.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, change: impl FnOnce(&mut BTreeMap<u32, Arc<Segment>>) -> T) -> T {
        change(
            &mut self
                .segments
                .write()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }
}
