//! A group: the records of one flush, starting on a block. Owns its header and its layout.
//!
//! Invariants: a group fills whole blocks; its header stands alone in telling that
//! the writer reached this offset in this life of the segment.

use crate::position::Position;
use crate::record::{self, Identity, Record, u32_at, u64_at};
use crate::segment::BLOCK;

/// Bytes of a group's header.
pub(crate) const HEADER: usize = 32;
const MAGIC: u32 = u32::from_le_bytes(*b"hpjG");

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Bytes of records, padding excluded.
    pub(crate) length: u32,
    pub(crate) records: u32,
}

impl Header {
    pub(crate) fn encode(self, identity: Identity, offset: u32) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[8..16].copy_from_slice(&identity.salt.to_le_bytes());
        bytes[16..20].copy_from_slice(&identity.segment.to_le_bytes());
        bytes[20..24].copy_from_slice(&offset.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.length.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.records.to_le_bytes());
        let crc = crc32fast::hash(&bytes[8..]);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// `None` when these bytes are no group header written for this place.
    pub(crate) fn decode(bytes: &[u8], identity: Identity, offset: u32) -> Option<Self> {
        let bytes: &[u8; HEADER] = bytes.first_chunk()?;
        let here = u32_at(bytes, 0) == MAGIC
            && u64_at(bytes, 8) == identity.salt
            && u32_at(bytes, 16) == identity.segment
            && u32_at(bytes, 20) == offset
            && u32_at(bytes, 4) == crc32fast::hash(&bytes[8..]);
        here.then(|| Self {
            length: u32_at(bytes, 24),
            records: u32_at(bytes, 28),
        })
    }

    /// Bytes on disk, header and padding included.
    pub(crate) fn stored_len(self) -> u64 {
        (HEADER as u64 + u64::from(self.length)).next_multiple_of(u64::from(BLOCK))
    }
}

/// Bytes on disk of a group with `length` bytes of records.
pub(crate) fn padded(length: usize) -> usize {
    (HEADER + length).next_multiple_of(BLOCK as usize)
}

/// A record with its payload's checksum, computed by whoever handed it in.
#[derive(Clone, Debug)]
pub(crate) struct Summed {
    pub(crate) record: Record,
    pub(crate) payload_crc: u32,
}

impl Summed {
    pub(crate) fn new(record: Record) -> Self {
        let payload_crc = crc32fast::hash(&record.payload);
        Self {
            record,
            payload_crc,
        }
    }
}

/// Lays the records out in `into` as they will stand at `offset`, and gives their positions.
pub(crate) fn encode<'a>(
    records: impl Iterator<Item = &'a Summed> + Clone,
    identity: Identity,
    offset: u32,
    into: &mut Vec<u8>,
) -> Vec<Position> {
    into.clear();
    into.resize(HEADER, 0);
    let count = records.clone().count();
    let mut positions = Vec::with_capacity(count);
    for (number, summed) in records.enumerate() {
        let at = offset + small(into.len());
        let header = record::Header {
            length: small(summed.record.payload.len()),
            kind: summed.record.kind,
            last: number + 1 == count,
            payload_crc: summed.payload_crc,
        };
        into.extend_from_slice(&header.encode(identity, at));
        into.extend_from_slice(&summed.record.payload);
        positions.push(Position::new(identity.segment, at));
    }
    let header = Header {
        length: small(into.len() - HEADER),
        records: small(count),
    };
    into[..HEADER].copy_from_slice(&header.encode(identity, offset));
    into.resize(into.len().next_multiple_of(BLOCK as usize), 0);
    positions
}

fn small(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("a group fits a segment, which has at most 1 GiB")
}
