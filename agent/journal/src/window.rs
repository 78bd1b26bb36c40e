//! A sliding view of one segment for reading in order.
//!
//! Owns one buffer, grown for a large record and shrunk behind it. Refuses to judge bytes.

use std::io;
use std::sync::Arc;

use crate::io::{StoredFile, read_full};

/// Bytes read ahead.
const CHUNK: usize = 256 << 10;

pub(crate) struct Window {
    file: Arc<dyn StoredFile>,
    start: u32,
    bytes: Vec<u8>,
    /// Reading ahead failed: nothing is read ahead below.
    careful_below: u32,
}

impl Window {
    pub(crate) fn new(file: Arc<dyn StoredFile>) -> Self {
        Self {
            file,
            start: 0,
            bytes: Vec::new(),
            careful_below: 0,
        }
    }

    /// The bytes from `offset` on, `None` unless all of them lie below `end` and in the file.
    pub(crate) fn get(
        &mut self,
        offset: u32,
        length: usize,
        end: u32,
    ) -> io::Result<Option<&[u8]>> {
        if u64::from(offset) + length as u64 > u64::from(end) {
            return Ok(None);
        }
        let held =
            offset >= self.start && (offset - self.start) as usize + length <= self.bytes.len();
        if !held {
            let ahead = CHUNK.min((end - offset) as usize);
            if offset >= self.careful_below && ahead > length {
                // What cannot be read may stand in what is read ahead.
                self.read(offset, ahead).or_else(|_| {
                    self.careful_below = offset.saturating_add(CHUNK as u32);
                    self.read(offset, length)
                })?;
            } else {
                self.read(offset, length)?;
            }
        }
        let from = (offset - self.start) as usize;
        Ok(self.bytes.get(from..from + length))
    }

    fn read(&mut self, offset: u32, wanted: usize) -> io::Result<()> {
        self.bytes.resize(wanted, 0);
        self.bytes.shrink_to(CHUNK.max(wanted));
        let found = read_full(self.file.as_ref(), &mut self.bytes, u64::from(offset));
        // Nothing is held if the read failed.
        self.bytes.truncate(*found.as_ref().unwrap_or(&0));
        self.start = offset;
        found.map(drop)
    }
}
