//! Opening what the last run left: which segments there are and where the newest ends.
//!
//! Refuses to change acknowledged data. Invariants: a group counts whole or not at
//! all; one with a later group behind it was acknowledged, so if it does not check
//! that is damage and not an end.

use std::io;
use std::sync::Arc;

use crate::group;
use crate::io::{Directory, StoredFile, read_full};
use crate::journal::OpenError;
use crate::options::{MAX_SEGMENT, is_segment_size};
use crate::position::Position;
use crate::read::is_bad_sector;
use crate::read::{Damage, Fault};
use crate::record::{self, Identity};
use crate::scan::next_group;
use crate::segment::{self, BLOCK, Found, Header, Named, Segment};
use crate::window::Window;

/// What opening a journal found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    pub segments: usize,
    /// Just behind the last record.
    pub end: Option<Position>,
    /// A group in flight when the last run died; it was not acknowledged and is gone.
    pub torn: Option<Position>,
    /// Acknowledged data that cannot be read. Only headers and the newest segment are looked at:
    /// a scan finds the rest.
    pub damage: Vec<Damage>,
}

/// Everything the journal goes on from.
pub(crate) struct Recovered {
    pub(crate) report: Recovery,
    pub(crate) segments: Vec<Segment>,
    /// The newest segment, if it can be written on.
    pub(crate) active: Option<Arc<dyn StoredFile>>,
    /// Sequences in the names of the spares.
    pub(crate) spares: Vec<u32>,
}

/// A segment's file before its end is known.
struct Opened {
    sequence: u32,
    file: Arc<dyn StoredFile>,
    bytes: u32,
    header: Option<Header>,
}

pub(crate) fn recover(directory: &dyn Directory, spare_bytes: u32) -> Result<Recovered, OpenError> {
    let files = |source| OpenError::Files { source };
    let (sequences, spares) = sort_out(directory, spare_bytes).map_err(files)?;
    let mut report = Recovery {
        segments: sequences.len(),
        ..Recovery::default()
    };
    let mut segments = Vec::with_capacity(sequences.len());
    let mut active = None;
    let mut opened = sequences
        .iter()
        .map(|sequence| open(directory, *sequence))
        .peekable();
    while let Some(this) = opened.next() {
        let this = this?;
        let next = match opened.peek() {
            // An error of the next one is met when its turn comes.
            Some(Ok(next)) => Some((next.sequence, next.header)),
            _ => None,
        };
        let before = report.damage.len();
        let segment = settle(&this, next, &mut report).map_err(|source| OpenError::Segment {
            sequence: this.sequence,
            source,
        })?;
        if opened.peek().is_none() {
            let sized = capacity(&this) == Some(this.bytes) && is_segment_size(this.bytes);
            let sound = report.damage.len() == before && sized;
            this.file.sync().map_err(files)?;
            active = sound.then_some(this.file);
            report.end = Some(Position::new(this.sequence, segment.end()));
        }
        segments.push(segment);
    }
    directory.sync_directory().map_err(files)?;
    Ok(Recovered {
        report,
        segments,
        active,
        spares,
    })
}

/// Segments in order and usable spares; leftovers are removed.
fn sort_out(directory: &dyn Directory, spare_bytes: u32) -> io::Result<(Vec<u32>, Vec<u32>)> {
    let (mut segments, mut spares) = (Vec::new(), Vec::new());
    for name in directory.list()? {
        match segment::named(&name) {
            Named::Segment(sequence) => segments.push(sequence),
            Named::Spare(sequence) => {
                let bytes = directory.open(&name)?.bytes()?;
                if bytes == u64::from(spare_bytes) {
                    spares.push(sequence);
                } else {
                    directory.remove(&name)?;
                }
            }
            Named::Unfinished => directory.remove(&name)?,
            Named::Foreign => {}
        }
    }
    segments.sort_unstable();
    spares.sort_unstable();
    Ok((segments, spares))
}

fn open(directory: &dyn Directory, sequence: u32) -> Result<Opened, OpenError> {
    let name = segment::name(sequence);
    let fault = |source| OpenError::Segment { sequence, source };
    let file = directory.open(&name).map_err(fault)?;
    let bytes = file.bytes().map_err(fault)?;
    let mut block = vec![0; BLOCK as usize];
    let found = read_full(file.as_ref(), &mut block, 0).map_err(fault)?;
    block.truncate(found);
    let header = match Header::decode(&block, sequence) {
        Found::Header(header) => Some(header),
        Found::Version(version) => return Err(OpenError::Version { name, version }),
        Found::Nothing => None,
    };
    Ok(Opened {
        sequence,
        file,
        // Longer than any segment: what lies beyond is not ours.
        bytes: u32::try_from(bytes).unwrap_or(MAX_SEGMENT).min(MAX_SEGMENT),
        header,
    })
}

fn capacity(opened: &Opened) -> Option<u32> {
    opened.header.map(|header| header.capacity)
}

/// Finds the end of a segment, from the next one's header or by walking it.
fn settle(
    this: &Opened,
    next: Option<(u32, Option<Header>)>,
    report: &mut Recovery,
) -> io::Result<Segment> {
    let Opened { sequence, .. } = *this;
    let mut damaged = |offset, fault| {
        let position = Position::new(sequence, offset);
        report.damage.push(Damage { position, fault });
    };
    let segment = match this.header {
        None => {
            damaged(BLOCK, Fault::SegmentHeader);
            Segment::lost(sequence, this.bytes)
        }
        Some(header) => {
            let stated = next
                .and_then(|(_, next)| next?.previous)
                .filter(|previous| previous.segment == sequence);
            let end = if let Some(previous) = stated {
                if this.bytes < previous.end {
                    damaged(this.bytes, Fault::Truncated);
                }
                previous.end.min(MAX_SEGMENT)
            } else {
                let walk = walk(this, header.identity)?;
                walk.damage
                    .iter()
                    .for_each(|(at, fault)| damaged(*at, *fault));
                let torn = walk.torn.map(|at| Position::new(sequence, at));
                report.torn = torn.filter(|_| next.is_none());
                walk.end
            };
            Segment::new(header.identity, this.bytes, end)
        }
    };
    if let Some((following, _)) = next
        && following - sequence > 1
    {
        report.damage.push(Damage {
            position: Position::new(sequence + 1, BLOCK),
            fault: Fault::MissingSegment,
        });
    }
    Ok(segment)
}

struct Walk {
    end: u32,
    /// A group header stands at the end and its records do not check.
    torn: Option<u32>,
    damage: Vec<(u32, Fault)>,
}

/// What stands where a group should begin.
enum Check {
    Whole { next: u32 },
    Broken(Fault),
    NoHeader,
}

fn walk(opened: &Opened, identity: Identity) -> io::Result<Walk> {
    let mut window = Window::new(opened.file.clone());
    let limit = opened.bytes;
    let mut walk = Walk {
        end: BLOCK,
        torn: None,
        damage: Vec::new(),
    };
    loop {
        let at = walk.end;
        let mut unread = None;
        let fault = match check(&mut window, identity, at, limit) {
            Err(error) if is_bad_sector(&error) => {
                unread = Some(error);
                Fault::Unreadable
            }
            Err(error) => return Err(error),
            Ok(Check::Whole { next }) => {
                walk.end = next;
                continue;
            }
            Ok(Check::Broken(fault)) => {
                walk.torn = Some(at);
                fault
            }
            Ok(Check::NoHeader) => Fault::GroupHeader,
        };
        let from = at.saturating_add(BLOCK);
        let mut next = next_group(&mut window, identity, from, limit, false);
        if next.as_ref().is_err_and(is_bad_sector) {
            unread = next.err();
            next = next_group(&mut window, identity, from, limit, true);
        }
        // The writer begins a group only after the one before is flushed.
        match next? {
            Some(next) => {
                walk.damage.push((at, fault));
                walk.torn = None;
                walk.end = next;
            }
            // What is not read may be acknowledged: nothing is cut off there.
            None => return unread.map_or(Ok(walk), Err),
        }
    }
}

fn check(window: &mut Window, identity: Identity, at: u32, limit: u32) -> io::Result<Check> {
    let Some(bytes) = window.get(at, group::HEADER, limit)? else {
        return Ok(Check::NoHeader);
    };
    let Some(header) = group::Header::decode(bytes, identity, at) else {
        return Ok(Check::NoHeader);
    };
    let next = u64::from(at) + header.stored_len();
    let Some(next) = u32::try_from(next).ok().filter(|next| *next <= limit) else {
        return Ok(Check::Broken(Fault::Truncated));
    };
    let mut offset = at + group::HEADER as u32;
    let end = offset + header.length;
    for number in 1..=header.records {
        let Some(bytes) = window.get(offset, record::HEADER, end)? else {
            return Ok(Check::Broken(Fault::RecordHeader));
        };
        let Some(record) = record::Header::decode(bytes, identity, offset) else {
            return Ok(Check::Broken(Fault::RecordHeader));
        };
        let whole = record::HEADER + record.length as usize;
        let Some(bytes) = window.get(offset, whole, end)? else {
            return Ok(Check::Broken(Fault::Truncated));
        };
        if !record.fits(&bytes[record::HEADER..]) || record.last != (number == header.records) {
            return Ok(Check::Broken(Fault::Payload));
        }
        offset += record::HEADER as u32 + record.length;
    }
    Ok(if offset == end {
        Check::Whole { next }
    } else {
        Check::Broken(Fault::RecordHeader)
    })
}
