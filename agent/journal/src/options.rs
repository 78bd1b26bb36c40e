//! The bounds of a journal. Owns their defaults and which combinations make sense.

use std::time::Duration;

use thiserror::Error;

use crate::group;
use crate::segment::BLOCK;

/// Largest segment: offsets and lengths fit 31 bits.
pub(crate) const MAX_SEGMENT: u32 = 1 << 30;

#[derive(Clone, Debug)]
pub struct Options {
    /// Size of a segment file; a multiple of 4 KiB.
    pub segment_bytes: u32,
    /// Files kept for reuse, the reserve included.
    pub spare_segments: usize,
    /// Hold one spare segment back for urgent appends.
    pub reserve: bool,
    /// Records after which a group takes no further batch.
    pub group_records: usize,
    /// Bytes after which a group takes no further batch.
    pub group_bytes: usize,
    /// Largest batch, with 16 bytes of header for each record.
    pub batch_bytes: usize,
    /// Batches that may wait.
    pub queue_batches: usize,
    /// Bytes that may wait.
    pub queue_bytes: usize,
    /// How long appends are refused at once after the disk failed or was full, and how often the
    /// writer then sees for itself. Zero: every append tries, and nothing else does.
    pub failure_pause: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            spare_segments: 4,
            reserve: true,
            group_records: 1_024,
            group_bytes: 4 << 20,
            batch_bytes: 32 << 20,
            queue_batches: 4_096,
            queue_bytes: 64 << 20,
            failure_pause: Duration::from_millis(250),
        }
    }
}

/// Bounds that contradict each other.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum OptionsError {
    #[error("a segment of {0} bytes is not a multiple of 4096 between 8192 and 1 GiB")]
    Segment(u32),
    #[error("a batch of {batch} bytes does not fit a segment of {segment}")]
    BatchBeyondSegment { batch: usize, segment: u32 },
    #[error("a batch of {batch} bytes does not fit a queue of {queue}")]
    BatchBeyondQueue { batch: usize, queue: usize },
    #[error("the queue or the group would hold nothing")]
    Nothing,
}

/// Whole blocks, one of them for the header.
pub(crate) fn is_segment_size(bytes: u32) -> bool {
    bytes.is_multiple_of(BLOCK) && (2 * BLOCK..=MAX_SEGMENT).contains(&bytes)
}

impl Options {
    pub(crate) fn check(&self) -> Result<(), OptionsError> {
        let segment = self.segment_bytes;
        if !is_segment_size(segment) {
            return Err(OptionsError::Segment(segment));
        }
        if group::padded(self.batch_bytes) > (segment - BLOCK) as usize {
            let batch = self.batch_bytes;
            return Err(OptionsError::BatchBeyondSegment { batch, segment });
        }
        if self.batch_bytes > self.queue_bytes {
            return Err(OptionsError::BatchBeyondQueue {
                batch: self.batch_bytes,
                queue: self.queue_bytes,
            });
        }
        if self.queue_batches == 0 || self.group_records == 0 {
            return Err(OptionsError::Nothing);
        }
        Ok(())
    }

    /// Bytes of records a group may hold: as asked, and never more than a segment takes.
    pub(crate) fn group_limit(&self) -> usize {
        let most = (self.segment_bytes - BLOCK) as usize - group::HEADER;
        self.group_bytes.min(most)
    }
}
