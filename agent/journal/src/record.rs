//! One record: its header and its two checksums. Pure functions over bytes.
//!
//! Invariant: a header passes only at the offset, in the segment and in the life of
//! the file (the salt) for which it was written.

use bytes::Bytes;

/// Bytes of a record's header.
pub(crate) const HEADER: usize = 16;
const LAST: u8 = 1;

/// What the caller stores: a kind that the journal does not read, and bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub kind: u8,
    pub payload: Bytes,
}

impl Record {
    pub fn new(kind: u8, payload: impl Into<Bytes>) -> Self {
        Self {
            kind,
            payload: payload.into(),
        }
    }

    /// Bytes on disk, header included.
    pub(crate) fn stored_len(&self) -> usize {
        HEADER + self.payload.len()
    }
}

/// One life of one segment file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) segment: u32,
    pub(crate) salt: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) length: u32,
    pub(crate) kind: u8,
    /// The last record of its group.
    pub(crate) last: bool,
    pub(crate) payload_crc: u32,
}

impl Header {
    pub(crate) fn encode(self, identity: Identity, offset: u32) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[0..4].copy_from_slice(&self.length.to_le_bytes());
        bytes[4] = self.kind;
        bytes[5] = if self.last { LAST } else { 0 };
        bytes[8..12].copy_from_slice(&self.payload_crc.to_le_bytes());
        let crc = header_crc(&bytes, identity, offset);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// `None` when these bytes are no header written for this place.
    pub(crate) fn decode(bytes: &[u8], identity: Identity, offset: u32) -> Option<Self> {
        let bytes: &[u8; HEADER] = bytes.first_chunk()?;
        if u32_at(bytes, 12) != header_crc(bytes, identity, offset) {
            return None;
        }
        Some(Self {
            length: u32_at(bytes, 0),
            kind: bytes[4],
            last: bytes[5] & LAST != 0,
            payload_crc: u32_at(bytes, 8),
        })
    }

    pub(crate) fn fits(self, payload: &[u8]) -> bool {
        payload.len() == self.length as usize && crc32fast::hash(payload) == self.payload_crc
    }
}

fn header_crc(bytes: &[u8; HEADER], identity: Identity, offset: u32) -> u32 {
    let mut place = [0; 28];
    place[0..8].copy_from_slice(&identity.salt.to_le_bytes());
    place[8..12].copy_from_slice(&identity.segment.to_le_bytes());
    place[12..16].copy_from_slice(&offset.to_le_bytes());
    place[16..28].copy_from_slice(&bytes[0..12]);
    crc32fast::hash(&place)
}

/// Reads a number inside a slice whose length the caller has checked.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(
        bytes[at..at + 4]
            .try_into()
            .expect("a slice of four bytes is an array of four bytes"),
    )
}

/// As `u32_at`.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(
        bytes[at..at + 8]
            .try_into()
            .expect("a slice of eight bytes is an array of eight bytes"),
    )
}
