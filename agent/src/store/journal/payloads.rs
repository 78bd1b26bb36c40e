//! Reading back what was stored, by its place in the journal.
//!
//! Owns which fault means what: lost for good, moved meanwhile, or worth another try. Blocks on
//! the disk, so it runs on blocking threads and on the follower's.

use std::collections::HashMap;

use hookplane_journal::{Position, ReadError, Record};

use super::entry::{self, Entry};
use super::horizon::Place;
use super::parts::Parts;
use crate::store::{AttemptRecord, RequestRecord, StoreError};

/// Tries after which a place that the disk gave up on each time is damaged. What follows for an
/// event has to be flushed to the same disk, so that one which is gone altogether fails none.
const TRIES: u32 = 20;
/// Such places that are remembered; when there are more all are counted anew.
const PLACES: usize = 4_096;

/// How often places could not be read.
#[derive(Debug, Default)]
pub(super) struct Unread(HashMap<Position, u32>);

impl Unread {
    /// Counts one more. True when there were too many.
    fn again(&mut self, at: Position) -> bool {
        if self.0.len() >= PLACES {
            self.0.clear();
        }
        let tries = self.0.entry(at).or_default();
        *tries = tries.saturating_add(1);
        *tries > TRIES
    }
}

/// Why something stored was not read.
#[derive(Debug)]
pub(super) enum Unreadable {
    /// Damaged: no later try will do better.
    Broken(String),
    /// Its segment was given up; the index knows the new place, if it has one.
    Moved,
    Later(std::io::Error),
}

impl Unreadable {
    /// As an answer to a question about one record.
    pub(super) fn of(self, table: &'static str, id: &str) -> Option<StoreError> {
        match self {
            Self::Moved => None,
            Self::Later(error) => Some(StoreError::Unavailable(Box::new(error))),
            Self::Broken(fault) => Some(StoreError::Corrupt {
                table,
                id: id.to_owned(),
                fault,
            }),
        }
    }
}

impl Parts {
    /// A request with its headers and body.
    pub(super) fn load(&self, (head, payload): Place) -> Result<RequestRecord, Unreadable> {
        let mut request = self.head(head)?;
        let lost = || Unreadable::Broken("the record of its headers and body is lost".to_owned());
        match self.entry_at(payload.ok_or_else(lost)?)? {
            Entry::Payload { headers, body } => {
                request.headers = headers;
                request.body = body;
                Ok(request)
            }
            _ => Err(misplaced()),
        }
    }

    /// A request without its headers and body.
    pub(super) fn head(&self, at: Position) -> Result<RequestRecord, Unreadable> {
        match self.entry_at(at)? {
            Entry::Request(head) | Entry::Carried(head) => Ok(head.request),
            _ => Err(misplaced()),
        }
    }

    pub(super) fn attempt_at(&self, at: Position) -> Result<AttemptRecord, Unreadable> {
        match self.entry_at(at)? {
            Entry::Attempt(attempt, _) | Entry::CarriedAttempt(attempt) => Ok(*attempt),
            _ => Err(misplaced()),
        }
    }

    pub(super) fn report_at(&self, at: Position) -> Result<Vec<u8>, Unreadable> {
        match self.entry_at(at)? {
            Entry::Report { payload, .. } => Ok(payload.into()),
            _ => Err(misplaced()),
        }
    }

    fn entry_at(&self, at: Position) -> Result<Entry, Unreadable> {
        let record: Record = self.journal.read(at).map_err(|error| match error {
            error if error.is_bad_sector() && self.unread().again(at) => {
                Unreadable::Broken("the disk cannot read it".to_owned())
            }
            ReadError::Gone(_) => Unreadable::Moved,
            ReadError::Io(error) => Unreadable::Later(error),
            ReadError::Damaged(_) | ReadError::Beyond(_) => Unreadable::Broken(error.to_string()),
        })?;
        entry::read(&record).map_err(|error| Unreadable::Broken(error.to_string()))
    }
}

fn misplaced() -> Unreadable {
    Unreadable::Broken("another record stands in its place".to_owned())
}
