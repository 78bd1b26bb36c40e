//! A journal on a simulated disk beside everything it acknowledged.
//!
//! Invariants: `ever` holds each record that was ever acknowledged, `kept` those of segments not
//! given up; no call to the disk fails until the run is ended.

use std::collections::BTreeMap;

use arbitrary::Arbitrary;

use super::{BATCH, open};
use crate::io::simulated::{Crash, SimulatedDisk};
use crate::record::HEADER;
use crate::{AppendError, Journal, Position, Record};

/// A record to be: its payload is told from its number, so that no two are alike.
#[derive(Clone, Copy, Debug, Arbitrary)]
pub(super) struct Draft {
    kind: u8,
    length: u16,
}

#[derive(Debug, Arbitrary)]
pub(super) enum Step {
    Append(Vec<Draft>),
    AppendUrgent(Draft),
    /// Handed in at once, so that they may share groups.
    Together(Vec<Draft>),
    GiveUp {
        segments: u8,
    },
    Close,
    Kill,
    CutPower,
}

pub(super) struct Written {
    pub(super) disk: SimulatedDisk,
    journal: Option<Journal>,
    pub(super) ever: BTreeMap<Position, Record>,
    pub(super) kept: BTreeMap<Position, Record>,
    /// Handed in when the disk died: there whole or not at all.
    pub(super) unknown: Vec<Vec<Record>>,
    number: u32,
}

impl Written {
    pub(super) fn new(seed: u64) -> Self {
        let disk = SimulatedDisk::new(seed);
        let (journal, _) = open(&disk);
        Self {
            disk,
            journal: Some(journal),
            ever: BTreeMap::new(),
            kept: BTreeMap::new(),
            unknown: Vec::new(),
            number: 0,
        }
    }

    pub(super) fn journal(&self) -> &Journal {
        self.journal.as_ref().expect("open between steps")
    }

    pub(super) fn perform(&mut self, step: &Step) {
        match step {
            Step::Append(drafts) => {
                let batch = self.batch(drafts);
                let outcome = self.journal().append(batch.clone());
                self.told(batch, outcome.and_then(crate::Appending::wait));
            }
            Step::AppendUrgent(draft) => {
                let batch = self.batch(&[*draft]);
                let outcome = self.journal().append_urgent(batch.clone());
                self.told(batch, outcome.and_then(crate::Appending::wait));
            }
            Step::Together(drafts) => self.together(drafts),
            Step::GiveUp { segments } => self.give_up(*segments),
            Step::Close => self.restart(None),
            Step::Kill => self.restart(Some(Crash::Process)),
            Step::CutPower => self.restart(Some(Crash::Power)),
        }
    }

    /// As many of the drafts as fit a batch.
    fn batch(&mut self, drafts: &[Draft]) -> Vec<Record> {
        let mut room = BATCH;
        let mut batch = Vec::new();
        for draft in drafts {
            let length = usize::from(draft.length) % (BATCH - HEADER);
            let Some(rest) = room.checked_sub(HEADER + length) else {
                break;
            };
            room = rest;
            self.number += 1;
            batch.push(record(self.number, draft.kind, length));
        }
        batch
    }

    /// Each draft as a batch of its own.
    pub(super) fn together(&mut self, drafts: &[Draft]) {
        let batches: Vec<_> = drafts.iter().map(|draft| self.batch(&[*draft])).collect();
        let handed_in: Vec<_> = batches
            .iter()
            .map(|batch| self.journal().append(batch.clone()))
            .collect();
        for (batch, handed_in) in batches.into_iter().zip(handed_in) {
            self.told(batch, handed_in.and_then(crate::Appending::wait));
        }
    }

    fn told(&mut self, batch: Vec<Record>, outcome: Result<Vec<Position>, AppendError>) {
        match outcome {
            Ok(positions) => {
                assert_eq!(positions.len(), batch.len(), "one position for each record");
                for (position, record) in positions.into_iter().zip(batch) {
                    let last = self.ever.last_key_value().map(|(last, _)| *last);
                    assert!(Some(position) > last, "positions grow");
                    self.kept.insert(position, record.clone());
                    self.ever.insert(position, record);
                }
            }
            Err(AppendError::Failed(_)) => self.unknown.push(batch),
            Err(error) => panic!("nothing is wrong with the disk: {error}"),
        }
    }

    fn give_up(&mut self, segments: u8) {
        let oldest = self.journal().oldest().map_or(0, |oldest| oldest.segment);
        let below = Position::new(oldest.saturating_add(segments.into()), 0);
        let given_up = self.journal().retain_and_wait(below);
        given_up.expect("nothing is wrong with the disk");
        let oldest = self.journal().oldest().map_or(0, |oldest| oldest.segment);
        self.kept.retain(|position, _| position.segment >= oldest);
    }

    fn restart(&mut self, crash: Option<Crash>) {
        self.end(crash);
        let (journal, recovery) = open(&self.disk);
        assert_eq!(recovery.damage, [], "nothing was harmed");
        self.journal = Some(journal);
    }

    /// Ends the run: in order, or so that nothing more reaches the disk.
    pub(super) fn end(&mut self, crash: Option<Crash>) {
        if let Some(crash) = crash {
            self.disk.die_at(self.disk.performed().len());
            self.journal = None;
            self.disk.crash(crash);
        }
        self.journal = None;
    }

    /// Ends the run in the midst of these appends, a number of calls to the disk from now.
    pub(super) fn end_within(&mut self, drafts: &[Draft], calls: usize, crash: Crash) {
        self.disk.die_at(self.disk.performed().len() + calls);
        self.together(drafts);
        self.journal = None;
        self.disk.crash(crash);
    }
}

fn record(number: u32, kind: u8, length: usize) -> Record {
    let seed = number.to_le_bytes();
    let payload: Vec<u8> = (0..length)
        .map(|at| seed[at % 4] ^ (at >> 2).to_le_bytes()[0])
        .collect();
    Record::new(kind, payload)
}
