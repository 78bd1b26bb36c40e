//! Files whose checksums are right and whose contents are arbitrary: opening, scanning, reading
//! and appending never panic, come to an end, and agree with each other.
//!
//! Here the fuzzer may forge, so nothing is promised about what the records say.

use std::collections::BTreeMap;

use arbitrary::{Arbitrary, Unstructured};

use super::{SEGMENT, try_open};
use crate::group::{self, Summed};
use crate::io::simulated::{Crash, SimulatedDisk};
use crate::record::{self, Identity};
use crate::segment::{self, BLOCK, Previous};
use crate::{Journal, OpenError, Position, ReadError, Record};

const FILES: usize = 4;
const PIECES: usize = 24;

#[derive(Debug, Arbitrary)]
struct Plan {
    files: Vec<File>,
    from: Vec<(u32, u32)>,
}

#[derive(Debug, Arbitrary)]
struct File {
    name: Name,
    /// Whether the file has the length of a segment, or another.
    length: Option<u16>,
    pieces: Vec<Piece>,
}

#[derive(Debug, Arbitrary)]
enum Name {
    /// Most of the time segments that follow each other.
    Segment(u8),
    AnySegment(u32),
    Spare(u32),
    Text(String),
}

#[derive(Debug, Arbitrary)]
enum Piece {
    Bytes {
        at: u16,
        bytes: Vec<u8>,
    },
    SegmentHeader {
        second: bool,
        version: Option<u32>,
        capacity: Option<u32>,
        previous: Option<(u8, u16)>,
    },
    GroupHeader {
        block: u8,
        length: u32,
        records: u32,
    },
    RecordHeader {
        at: u16,
        length: u32,
        kind: u8,
        last: bool,
    },
    /// As the writer would lay them out.
    Group {
        block: u8,
        lengths: Vec<u16>,
    },
}

/// Makes the files that the bytes mean and uses them as a journal.
pub fn forged(bytes: &[u8]) {
    let Ok(plan) = Plan::arbitrary_take_rest(Unstructured::new(bytes)) else {
        return;
    };
    let disk = SimulatedDisk::new(1);
    for file in plan.files.iter().take(FILES) {
        file.put(&disk);
    }
    let journal = match try_open(&disk) {
        Ok((journal, _)) => journal,
        Err(OpenError::Version { .. }) => return,
        Err(error) => panic!("only an unknown version is refused: {error}"),
    };
    let found = records(&journal, Position::START);
    for (position, record) in &found {
        let read = journal.read(*position);
        assert_eq!(read.expect("a scan has read it"), *record);
    }
    for (segment, offset) in &plan.from {
        let position = Position::new(*segment, *offset);
        drop(journal.read(position));
        records(&journal, position);
    }
    goes_on(&disk, journal, found);
}

/// What is appended now is read after the next start, beside all that was there.
fn goes_on(disk: &SimulatedDisk, journal: Journal, mut found: BTreeMap<Position, Record>) {
    let more = Record::new(7, vec![7; 100]);
    let appended = journal.append(vec![more.clone()]);
    // Behind the last number there is no further segment.
    let Ok(positions) = appended.and_then(crate::Appending::wait) else {
        return;
    };
    found.insert(positions[0], more);
    assert_eq!(records(&journal, Position::START), found);
    disk.die_at(disk.performed().len());
    drop(journal);
    disk.crash(Crash::Power);
    let (journal, _) = try_open(disk).expect("it was opened before");
    assert_eq!(records(&journal, Position::START), found);
}

/// Everything from a position on; panics when the scan stands still or turns back.
fn records(journal: &Journal, from: Position) -> BTreeMap<Position, Record> {
    let mut found: BTreeMap<Position, Record> = BTreeMap::new();
    let mut scan = journal.scan(from);
    loop {
        let before = scan.position();
        let Some(entry) = scan.next() else {
            return found;
        };
        assert!(
            scan.position() > before,
            "the scan stands still at {before}"
        );
        match entry {
            Ok(entry) => {
                let last = found.last_key_value().map(|(last, _)| *last);
                assert!(Some(entry.position) > last, "out of order");
                found.insert(entry.position, entry.record);
            }
            Err(ReadError::Io(error)) => panic!("the disk works: {error}"),
            Err(_) => {}
        }
    }
}

impl File {
    fn put(&self, disk: &SimulatedDisk) {
        let (name, sequence) = match &self.name {
            Name::Segment(number) => {
                let sequence = u32::from(number % 8);
                (segment::name(sequence), sequence)
            }
            Name::AnySegment(sequence) => (segment::name(*sequence), *sequence),
            Name::Spare(sequence) => (segment::spare_name(*sequence), *sequence),
            Name::Text(name) => (name.clone(), 1),
        };
        let length = self.length.map_or(SEGMENT as usize, usize::from);
        let mut bytes = vec![0; length];
        for piece in self.pieces.iter().take(PIECES) {
            piece.put(&mut bytes, sequence);
        }
        disk.put(&name, bytes);
    }
}

impl Piece {
    fn put(&self, into: &mut [u8], segment: u32) {
        let identity = Identity { segment, salt: 5 };
        match self {
            Self::Bytes { at, bytes } => overwrite(into, (*at).into(), bytes),
            Self::SegmentHeader {
                second,
                version,
                capacity,
                previous,
            } => {
                let header = segment::Header {
                    identity,
                    capacity: capacity.unwrap_or_else(|| small(into.len())),
                    previous: previous.map(|(segment, end)| Previous {
                        segment: segment.into(),
                        end: end.into(),
                    }),
                };
                let mut copy = header.encode()[..48].to_vec();
                if let Some(version) = version {
                    copy[12..16].copy_from_slice(&version.to_le_bytes());
                    let crc = crc32fast::hash(&copy[12..]);
                    copy[8..12].copy_from_slice(&crc.to_le_bytes());
                }
                overwrite(into, if *second { 2_048 } else { 0 }, &copy);
            }
            Self::GroupHeader {
                block,
                length,
                records,
            } => {
                let at = u32::from(block % 16) * BLOCK;
                let (length, records) = (*length, *records);
                let header = group::Header { length, records };
                overwrite(into, at as usize, &header.encode(identity, at));
            }
            Self::RecordHeader {
                at,
                length,
                kind,
                last,
            } => {
                let start = usize::from(*at) + record::HEADER;
                let payload = into.get(start..start.saturating_add(*length as usize));
                let header = record::Header {
                    length: *length,
                    kind: *kind,
                    last: *last,
                    payload_crc: crc32fast::hash(payload.unwrap_or_default()),
                };
                overwrite(into, (*at).into(), &header.encode(identity, (*at).into()));
            }
            Self::Group { block, lengths } => {
                let at = u32::from(block % 16) * BLOCK;
                let records = lengths.iter().take(8).map(|length| {
                    Summed::new(Record::new(1, vec![3; usize::from(length % 5_000)]))
                });
                let records: Vec<_> = records.collect();
                let mut bytes = Vec::new();
                group::encode(records.iter(), identity, at, &mut bytes);
                overwrite(into, at as usize, &bytes);
            }
        }
    }
}

/// As far as the file goes.
fn overwrite(into: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(into) = into.get_mut(at..) {
        let count = into.len().min(bytes.len());
        into[..count].copy_from_slice(&bytes[..count]);
    }
}

fn small(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
