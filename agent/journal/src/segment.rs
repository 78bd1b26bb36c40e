//! A segment file: its name, its header, and what readers know of it.
//!
//! Invariants: the header is whole before the file is named; `end` only grows, and
//! everything below it is on stable storage.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::record::{Identity, u32_at, u64_at};

/// What a torn write can destroy at most; groups start on multiples of it.
pub(crate) const BLOCK: u32 = 4_096;
pub(crate) const VERSION: u32 = 1;
/// Positions fit 63 bits.
pub(crate) const MAX_SEQUENCE: u32 = (1 << 31) - 1;
const MAGIC: u64 = u64::from_le_bytes(*b"hpjournl");
const HEADER: usize = 48;
/// Where the two copies of the header stand in the first block.
const COPIES: [usize; 2] = [0, 2_048];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) identity: Identity,
    /// Length of the file.
    pub(crate) capacity: u32,
    pub(crate) previous: Option<Previous>,
}

/// Where the segment before ended: everything below was acknowledged, nothing above counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Previous {
    pub(crate) segment: u32,
    pub(crate) end: u32,
}

/// What stands in the first block of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Header(Header),
    /// Whole, but of a version this program does not know.
    Version(u32),
    Nothing,
}

impl Header {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let previous = self.previous.unwrap_or(Previous { segment: 0, end: 0 });
        let mut copy = [0; HEADER];
        copy[0..8].copy_from_slice(&MAGIC.to_le_bytes());
        copy[12..16].copy_from_slice(&VERSION.to_le_bytes());
        copy[16..20].copy_from_slice(&self.identity.segment.to_le_bytes());
        copy[20..24].copy_from_slice(&self.capacity.to_le_bytes());
        copy[24..32].copy_from_slice(&self.identity.salt.to_le_bytes());
        copy[32..36].copy_from_slice(&previous.segment.to_le_bytes());
        copy[36..40].copy_from_slice(&previous.end.to_le_bytes());
        let crc = crc32fast::hash(&copy[12..]);
        copy[8..12].copy_from_slice(&crc.to_le_bytes());
        let mut block = vec![0; BLOCK as usize];
        for at in COPIES {
            block[at..at + HEADER].copy_from_slice(&copy);
        }
        block
    }

    /// Reads the first copy that is whole and belongs to the segment of this number.
    pub(crate) fn decode(block: &[u8], segment: u32) -> Found {
        COPIES
            .iter()
            .filter_map(|at| block.get(*at..*at + HEADER))
            .map(|copy| Self::decode_copy(copy, segment))
            .find(|found| *found != Found::Nothing)
            .unwrap_or(Found::Nothing)
    }

    fn decode_copy(copy: &[u8], segment: u32) -> Found {
        let whole = u64_at(copy, 0) == MAGIC && u32_at(copy, 8) == crc32fast::hash(&copy[12..]);
        if !whole {
            return Found::Nothing;
        }
        if u32_at(copy, 12) != VERSION {
            return Found::Version(u32_at(copy, 12));
        }
        if u32_at(copy, 16) != segment {
            return Found::Nothing;
        }
        let previous = Previous {
            segment: u32_at(copy, 32),
            end: u32_at(copy, 36),
        };
        Found::Header(Self {
            identity: Identity {
                segment,
                salt: u64_at(copy, 24),
            },
            capacity: u32_at(copy, 20),
            previous: (previous.segment != 0).then_some(previous),
        })
    }
}

/// A segment as readers see it.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) identity: Identity,
    /// Length of the file.
    pub(crate) bytes: AtomicU32,
    /// The header could not be read, so nothing in it can be.
    pub(crate) lost: bool,
    end: AtomicU32,
}

impl Segment {
    pub(crate) fn new(identity: Identity, bytes: u32, end: u32) -> Self {
        Self {
            identity,
            bytes: AtomicU32::new(bytes),
            lost: false,
            end: AtomicU32::new(end),
        }
    }

    /// A file with the name of a segment and no header.
    pub(crate) fn lost(segment: u32, bytes: u32) -> Self {
        Self {
            lost: true,
            ..Self::new(Identity { segment, salt: 0 }, bytes, BLOCK)
        }
    }

    pub(crate) fn sequence(&self) -> u32 {
        self.identity.segment
    }

    /// End of what is acknowledged.
    pub(crate) fn end(&self) -> u32 {
        self.end.load(Ordering::Acquire)
    }

    pub(crate) fn publish(&self, end: u32) {
        self.end.store(end, Ordering::Release);
    }
}

pub(crate) fn name(sequence: u32) -> String {
    format!("{sequence:010}.segment")
}

pub(crate) fn spare_name(sequence: u32) -> String {
    format!("{sequence:010}.spare")
}

/// What a file's name says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    Segment(u32),
    Spare(u32),
    /// A file that was being made into a segment.
    Unfinished,
    Foreign,
}

pub(crate) const UNFINISHED: &str = "unfinished";

pub(crate) fn named(name: &str) -> Named {
    let sequence = |suffix: &str| {
        let digits = name.strip_suffix(suffix)?;
        let well_formed = digits.len() == 10 && digits.bytes().all(|byte| byte.is_ascii_digit());
        let number = digits.parse::<u32>().ok().filter(|_| well_formed)?;
        // Nobody here has ever given a higher one.
        (number <= MAX_SEQUENCE).then_some(number)
    };
    if name == UNFINISHED {
        Named::Unfinished
    } else if let Some(number) = sequence(".segment").filter(|number| *number > 0) {
        Named::Segment(number)
    } else if let Some(number) = sequence(".spare") {
        Named::Spare(number)
    } else {
        Named::Foreign
    }
}
