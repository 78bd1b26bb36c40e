//! Reading in order from a position, across segments, up to what is acknowledged.
//!
//! Invariants: nothing acknowledged is left out without an error that says where;
//! a scan that has caught up can be asked again later.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::catalog::Catalog;
use crate::group;
use crate::position::Position;
use crate::read::{Damage, Fault, ReadError, absent};
use crate::record::{self, Record};
use crate::segment::{BLOCK, Segment};
use crate::window::Window;

/// Offset of a scan in a lost segment once it has said so.
const REPORTED: u32 = u32::MAX;

/// A record found by a scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub position: Position,
    /// Where a later scan goes on behind this record.
    pub next: Position,
    pub record: Record,
}

/// Gives records in order; `None` when it has caught up, for now. After an error it
/// goes on behind what could not be read, but for `Io`, where it tries again.
pub struct Scan {
    catalog: Arc<Catalog>,
    at: Position,
    /// Between the first and the last record of a group.
    inside: bool,
    open: Option<(Arc<Segment>, Window)>,
    /// What the disk cannot read here is damage.
    passes_over: bool,
}

/// What stands at the place of the scan.
enum Here {
    /// A group's header; its first record or, if empty, the next group is there.
    Group {
        next: u32,
        inside: bool,
    },
    Record {
        header: record::Header,
        payload: Bytes,
    },
    Fault(Fault, Resume),
}

/// Where to go on after damage.
enum Resume {
    At {
        offset: u32,
        inside: bool,
    },
    /// The next group whose header is whole.
    Search,
}

impl Scan {
    pub(crate) fn new(catalog: Arc<Catalog>, from: Position) -> Self {
        Self {
            catalog,
            at: from,
            inside: is_inside(from),
            open: None,
            passes_over: false,
        }
    }

    /// Has the next step report as damage what the disk cannot read, and go on behind it: after
    /// `Io`, by who has found that trying again is in vain.
    pub fn pass_over(&mut self) {
        self.passes_over = true;
    }

    /// Where the next record will be looked for.
    pub fn position(&self) -> Position {
        self.at
    }

    /// Goes on at a place that an append or a scan gave: who knows what stands before need not
    /// read it.
    pub fn go_to(&mut self, place: Position) {
        self.at = place;
        self.inside = is_inside(place);
        self.passes_over = false;
    }

    fn step(&mut self) -> Result<Option<Entry>, ReadError> {
        loop {
            let Some(segment) = self.segment()? else {
                return Ok(None);
            };
            match self.here(&segment) {
                Ok(Here::Group { next, inside }) => {
                    self.at.offset = next;
                    self.inside = inside;
                }
                Ok(Here::Record { header, payload }) => {
                    return Ok(Some(self.entry(header, payload)));
                }
                Ok(Here::Fault(fault, resume)) => {
                    let position = self.at;
                    self.resume(&segment, resume)?;
                    self.still_there(&segment, position)?;
                    return Err(Damage { position, fault }.into());
                }
                Err(error) => {
                    self.still_there(&segment, self.at)?;
                    return Err(error.into());
                }
            }
        }
    }

    /// The segment with something left to read, moving on to the next where one ends.
    fn segment(&mut self) -> Result<Option<Arc<Segment>>, ReadError> {
        loop {
            let Some(segment) = self.catalog.get(self.at.segment) else {
                let before = self.at;
                let Some(next) = self.catalog.after(before.segment) else {
                    return Ok(None);
                };
                self.enter(&next);
                if before != Position::START {
                    return Err(absent(&self.catalog, before));
                }
                continue;
            };
            self.at.offset = self.at.offset.max(BLOCK);
            if segment.lost && self.at.offset < REPORTED {
                let (position, fault) = (self.at, Fault::SegmentHeader);
                self.at.offset = REPORTED;
                return Err(Damage { position, fault }.into());
            }
            // In this order: once there is a next segment, this one's end is final.
            let next = self.catalog.after(self.at.segment);
            if self.at.offset < segment.end() {
                return Ok(Some(segment));
            }
            let Some(next) = next else {
                return Ok(None);
            };
            let gap = next.sequence() - segment.sequence() > 1;
            let position = Position::new(segment.sequence() + 1, BLOCK);
            self.enter(&next);
            if gap {
                // The oldest go first, so a gap behind a segment that is still there is damage.
                return Err(match self.catalog.get(segment.sequence()) {
                    Some(_) => Damage {
                        position,
                        fault: Fault::MissingSegment,
                    }
                    .into(),
                    None => ReadError::Gone(position),
                });
            }
        }
    }

    fn enter(&mut self, segment: &Segment) {
        self.at = Position::new(segment.sequence(), BLOCK);
        self.inside = false;
        self.open = None;
    }

    /// Tells damage from a segment given up while it was read.
    fn still_there(&mut self, segment: &Segment, position: Position) -> Result<(), ReadError> {
        if self.catalog.get(segment.sequence()).is_some() {
            return Ok(());
        }
        if let Some(next) = self.catalog.after(segment.sequence()) {
            self.enter(&next);
        }
        Err(ReadError::Gone(position))
    }

    fn window(&mut self, segment: &Arc<Segment>) -> io::Result<&mut Window> {
        let fits = |open: &(Arc<Segment>, Window)| Arc::ptr_eq(&open.0, segment);
        if !self.open.as_ref().is_some_and(fits) {
            let window = Window::new(self.catalog.file(segment)?);
            self.open = Some((segment.clone(), window));
        }
        let open = self.open.as_mut();
        Ok(&mut open.expect("opened above").1)
    }

    /// What is here; if it is to be passed over and cannot be read, that as a fault.
    fn here(&mut self, segment: &Arc<Segment>) -> io::Result<Here> {
        // Opening the file again may do better, so that this is no fault of a place.
        self.window(segment)?;
        match self.look(segment) {
            Err(_) if self.passes_over => Ok(Here::Fault(Fault::Unreadable, self.past(segment)?)),
            here => here,
        }
    }

    /// Behind the record here if its header can be read.
    fn past(&mut self, segment: &Arc<Segment>) -> io::Result<Resume> {
        let (at, end) = (self.at.offset, segment.end());
        let header = self.window(segment)?.get(at, record::HEADER, end);
        let bytes = header.ok().flatten();
        let header = bytes.and_then(|bytes| record::Header::decode(bytes, segment.identity, at));
        let whole = header.filter(|header| {
            let length = record::HEADER as u64 + u64::from(header.length);
            u64::from(at) + length <= u64::from(end)
        });
        Ok(whole.map_or(Resume::Search, |header| {
            let (offset, inside) = behind(at, header);
            Resume::At { offset, inside }
        }))
    }

    fn look(&mut self, segment: &Arc<Segment>) -> io::Result<Here> {
        let (at, end, inside) = (self.at.offset, segment.end(), self.inside);
        let identity = segment.identity;
        let window = self.window(segment)?;
        if !inside {
            let Some(bytes) = window.get(at, group::HEADER, end)? else {
                return Ok(Here::Fault(Fault::Truncated, Resume::Search));
            };
            if let Some(header) = group::Header::decode(bytes, identity, at) {
                let empty = header.records == 0;
                let next = at + if empty { BLOCK } else { group::HEADER as u32 };
                return Ok(Here::Group {
                    next,
                    inside: !empty,
                });
            }
        }
        // Also at a block, where a record in the middle of a group may happen to begin.
        let Some(bytes) = window.get(at, record::HEADER, end)? else {
            return Ok(Here::Fault(Fault::Truncated, Resume::Search));
        };
        let Some(header) = record::Header::decode(bytes, identity, at) else {
            let fault = if inside {
                Fault::RecordHeader
            } else {
                Fault::GroupHeader
            };
            return Ok(Here::Fault(fault, Resume::Search));
        };
        let whole = record::HEADER + header.length as usize;
        let Some(bytes) = window.get(at, whole, end)? else {
            return Ok(Here::Fault(Fault::Truncated, Resume::Search));
        };
        let payload = &bytes[record::HEADER..];
        if !header.fits(payload) {
            let (offset, inside) = behind(at, header);
            return Ok(Here::Fault(Fault::Payload, Resume::At { offset, inside }));
        }
        let payload = Bytes::copy_from_slice(payload);
        Ok(Here::Record { header, payload })
    }

    fn entry(&mut self, header: record::Header, payload: Bytes) -> Entry {
        let position = self.at;
        (self.at.offset, self.inside) = behind(position.offset, header);
        Entry {
            position,
            next: self.at,
            record: Record {
                kind: header.kind,
                payload,
            },
        }
    }

    fn resume(&mut self, segment: &Arc<Segment>, resume: Resume) -> io::Result<()> {
        (self.at.offset, self.inside) = match resume {
            Resume::At { offset, inside } => (offset, inside),
            Resume::Search => {
                let from = (self.at.offset + 1).next_multiple_of(BLOCK);
                let (identity, end) = (segment.identity, segment.end());
                let passes_over = self.passes_over;
                let window = self.window(segment)?;
                let found = next_group(window, identity, from, end, passes_over)?;
                (found.unwrap_or(end), false)
            }
        };
        Ok(())
    }
}

impl Iterator for Scan {
    type Item = Result<Entry, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let found = self.step().transpose();
        self.passes_over = false;
        found
    }
}

/// Whether a place is surely not a group's. On a block either may begin, a group or a record.
fn is_inside(place: Position) -> bool {
    !place.offset.is_multiple_of(BLOCK)
}

/// The place behind a record, and whether its group goes on there.
fn behind(at: u32, header: record::Header) -> (u32, bool) {
    let end = at + record::HEADER as u32 + header.length;
    if header.last {
        (end.next_multiple_of(BLOCK), false)
    } else {
        (end, true)
    }
}

/// The first block from `from` on that begins a group of this life of the segment. Blocks that
/// cannot be read are passed over if that is asked for.
pub(crate) fn next_group(
    window: &mut Window,
    identity: record::Identity,
    from: u32,
    end: u32,
    passes_over: bool,
) -> io::Result<Option<u32>> {
    let mut at = from;
    loop {
        match window.get(at, group::HEADER, end) {
            Ok(None) => return Ok(None),
            Ok(Some(bytes)) if group::Header::decode(bytes, identity, at).is_some() => {
                return Ok(Some(at));
            }
            Ok(Some(_)) => {}
            Err(_) if passes_over => {}
            Err(error) => return Err(error),
        }
        at += BLOCK;
    }
}
