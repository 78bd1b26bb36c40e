//! Reading one record by its position, and what can be wrong with it.
//!
//! Invariant: the bytes given are those appended at that position, or there is an error.

use std::io;

use bytes::Bytes;
use thiserror::Error;

use crate::catalog::Catalog;
use crate::io::{StoredFile, read_full};
use crate::position::Position;
use crate::record::{self, Record};
use crate::segment::{BLOCK, Segment};

/// Read at once: the header and most payloads.
const FIRST: usize = BLOCK as usize;

/// What does not check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    #[error("the header of the segment is broken, so nothing in it can be read")]
    SegmentHeader,
    #[error("the segment is missing")]
    MissingSegment,
    #[error("the header of the group is broken")]
    GroupHeader,
    #[error("there is no whole record header")]
    RecordHeader,
    #[error("the payload does not match its checksum")]
    Payload,
    #[error("the file is too short")]
    Truncated,
    #[error("the disk cannot read it")]
    Unreadable,
}

/// Acknowledged data that is not what was written, or a position that never was a record's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the journal is damaged at {position}: {fault}")]
pub struct Damage {
    pub position: Position,
    pub fault: Fault,
}

#[derive(Debug, Error)]
pub enum ReadError {
    /// Nothing is acknowledged there.
    #[error("{0} is beyond the end of the journal")]
    Beyond(Position),
    /// Given up by retention.
    #[error("{0} is below the oldest record kept")]
    Gone(Position),
    #[error(transparent)]
    Damaged(#[from] Damage),
    #[error("the journal cannot be read")]
    Io(#[from] io::Error),
}

impl ReadError {
    /// Whether the disk gives up on a place. A later try may still do better, but if everything
    /// else on that disk is read and written, it will not.
    pub fn is_bad_sector(&self) -> bool {
        matches!(self, Self::Io(error) if is_bad_sector(error))
    }
}

pub(crate) fn is_bad_sector(error: &io::Error) -> bool {
    /// `EIO`.
    const BAD_SECTOR: i32 = 5;
    error.raw_os_error() == Some(BAD_SECTOR)
}

pub(crate) fn read(catalog: &Catalog, position: Position) -> Result<Record, ReadError> {
    let Some(segment) = catalog.get(position.segment) else {
        return Err(absent(catalog, position));
    };
    read_in(catalog, &segment, position).map_err(|error| {
        // The file may have been given up, and even recycled, while it was being read.
        match catalog.get(position.segment) {
            Some(_) => error,
            None => ReadError::Gone(position),
        }
    })
}

/// Why there is no such segment.
pub(crate) fn absent(catalog: &Catalog, position: Position) -> ReadError {
    let newest = catalog.newest();
    if newest.is_none_or(|newest| position.segment > newest.sequence()) {
        return ReadError::Beyond(position);
    }
    let oldest = catalog.after(0).map_or(0, |oldest| oldest.sequence());
    // Being given up, if it is there after all.
    if position.segment < oldest || catalog.get(position.segment).is_some() {
        return ReadError::Gone(position);
    }
    let fault = Fault::MissingSegment;
    Damage { position, fault }.into()
}

fn read_in(catalog: &Catalog, segment: &Segment, at: Position) -> Result<Record, ReadError> {
    let damage = |fault| {
        ReadError::Damaged(Damage {
            position: at,
            fault,
        })
    };
    if segment.lost {
        return Err(damage(Fault::SegmentHeader));
    }
    let end = segment.end();
    if at.offset >= end {
        let newest = catalog.newest();
        let sealed = newest.is_some_and(|newest| newest.sequence() != at.segment);
        return Err(if sealed {
            damage(Fault::RecordHeader)
        } else {
            ReadError::Beyond(at)
        });
    }
    let file = catalog.file(segment)?;
    let mut bytes = vec![0; FIRST.min((end - at.offset) as usize)];
    let found = match read_full(file.as_ref(), &mut bytes, u64::from(at.offset)) {
        // What cannot be read may stand behind this record.
        Err(_) if bytes.len() > record::HEADER => {
            bytes.truncate(record::HEADER);
            read_full(file.as_ref(), &mut bytes, u64::from(at.offset))?
        }
        found => found?,
    };
    bytes.truncate(found);
    if found < record::HEADER {
        return Err(damage(Fault::Truncated));
    }
    let header = record::Header::decode(&bytes, segment.identity, at.offset)
        .ok_or_else(|| damage(Fault::RecordHeader))?;
    let whole = record::HEADER + header.length as usize;
    if u64::from(at.offset) + whole as u64 > u64::from(end) {
        return Err(damage(Fault::RecordHeader));
    }
    complete(file.as_ref(), &mut bytes, at.offset, whole)?;
    let payload = bytes.get(record::HEADER..whole);
    let payload = payload.ok_or_else(|| damage(Fault::Truncated))?;
    if !header.fits(payload) {
        return Err(damage(Fault::Payload));
    }
    Ok(Record {
        kind: header.kind,
        payload: Bytes::from(bytes).slice(record::HEADER..whole),
    })
}

/// Reads the rest of a large record.
fn complete(
    file: &dyn StoredFile,
    bytes: &mut Vec<u8>,
    offset: u32,
    whole: usize,
) -> io::Result<()> {
    let held = bytes.len();
    if held < whole {
        bytes.resize(whole, 0);
        let more = read_full(file, &mut bytes[held..], u64::from(offset) + held as u64)?;
        bytes.truncate(held + more);
    }
    Ok(())
}
