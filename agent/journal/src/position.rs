//! Where a record stands. Owns the order of records and its form as one number.
//!
//! Invariant: positions of one journal grow in the order of appends and are never given twice.

use std::fmt;

/// A segment's sequence number and an offset in it. Ordered as appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    pub segment: u32,
    pub offset: u32,
}

impl Position {
    /// Before everything: a scan from here begins with the oldest record there is.
    pub const START: Self = Self {
        segment: 0,
        offset: 0,
    };

    pub const fn new(segment: u32, offset: u32) -> Self {
        Self { segment, offset }
    }

    /// One number of 63 bits, in the same order; fits a signed column of a database.
    pub const fn to_u64(self) -> u64 {
        // `From` is not const.
        ((self.segment as u64) << 32) | self.offset as u64
    }

    pub const fn from_u64(number: u64) -> Self {
        Self {
            segment: (number >> 32) as u32,
            offset: (number & 0xffff_ffff) as u32,
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.segment, self.offset)
    }
}
