//! Death at every single call to the disk: what was acknowledged is there, nothing is invented.

use std::io::ErrorKind;

use super::{append, open_with, options, record, retain, try_append};
use crate::io::simulated::{Crash, SimulatedDisk};
use crate::{Journal, Position, Record};

/// What a run that may die at any moment was told.
#[derive(Default)]
struct Told {
    /// Acknowledged, in order.
    stored: Vec<(Position, Record)>,
    /// Refused after the disk had died, in order: each may be there or not, whole.
    unknown: Vec<Vec<Record>>,
    /// Below this the caller gave segments up.
    below: u32,
}

impl Told {
    fn append(&mut self, journal: &Journal, batch: Vec<Record>) {
        match try_append(journal, &batch) {
            Ok(positions) => self.stored.extend(positions.into_iter().zip(batch)),
            Err(_) => self.unknown.push(batch),
        }
    }

    fn retain(&mut self, journal: &Journal, below: u32) {
        // Even if it fails, some may have gone.
        self.below = self.below.max(below);
        drop(retain(journal, Position::new(below, 0)));
    }
}

/// Groups of one and of several blocks, new and recycled segments, a restart.
fn run(disk: &SimulatedDisk) -> Told {
    let mut told = Told::default();
    for session in 0..2_u32 {
        let opened = Journal::open(disk.directory(), options(), {
            let mut salt = u64::from(session) << 32;
            move || {
                salt += 1;
                salt
            }
        });
        let Ok((journal, _)) = opened else {
            return told;
        };
        for number in 0..12_u32 {
            let id = session * 100 + number;
            let length = [30, 1_500, 9_000, 25_000][number as usize % 4];
            told.append(&journal, vec![record(id, length), record(id + 50, 700)]);
            if number == 8 {
                let newest = journal.end().map_or(0, |end| end.segment);
                told.retain(&journal, newest);
            }
        }
    }
    told
}

fn check(disk: &SimulatedDisk, told: &Told, context: &str) {
    let (journal, recovery) = open_with(disk, options());
    assert_eq!(recovery.damage, [], "{context}");
    let mut found = super::all(&journal);
    assert!(
        found.is_sorted_by(|left, right| left.0 < right.0),
        "{context}: order"
    );
    // Segments given up may still be there, from the oldest kept on without a gap.
    let oldest = journal.oldest().map_or(0, |oldest| oldest.segment);
    assert!(oldest <= told.below.max(1), "{context}: gave up too much");
    let mut expected = told.stored.clone();
    expected.retain(|(position, _)| position.segment >= oldest);
    let mut unknown = told.unknown.clone();
    for (position, record) in expected {
        let at = found.iter().position(|(found, _)| *found == position);
        let at = at.unwrap_or_else(|| panic!("{context}: {position} is lost"));
        assert_eq!(found.remove(at).1, record, "{context}: {position}");
    }
    while !found.is_empty() {
        let survivor = unknown
            .iter()
            .position(|batch| found.len() >= batch.len() && holds(&found, batch));
        let survivor = survivor.unwrap_or_else(|| panic!("{context}: invented {found:?}"));
        found.drain(..unknown[survivor].len());
        unknown.drain(..=survivor);
    }
    // It goes on, and what it stores now survives the next power cut.
    let more = [record(7_000, 2_000)];
    let position = append(&journal, &more)[0];
    drop(journal);
    disk.crash(Crash::Power);
    let (journal, recovery) = open_with(disk, options());
    assert_eq!(recovery.damage, [], "{context}: later");
    assert_eq!(journal.read(position).unwrap(), more[0], "{context}: later");
    for (position, record) in &told.stored {
        if position.segment >= oldest {
            assert_eq!(
                journal.read(*position).unwrap(),
                *record,
                "{context}: later"
            );
        }
    }
}

fn holds(found: &[(Position, Record)], batch: &[Record]) -> bool {
    found
        .iter()
        .map(|(_, record)| record)
        .zip(batch)
        .all(|(found, sent)| found == sent)
}

fn die_everywhere(crash: Crash, seeds: u64) {
    let disk = SimulatedDisk::new(0);
    run(&disk);
    let calls = disk.performed().len();
    assert!(calls > 60, "only {calls} calls: the run does too little");
    for dies_at in 0..calls {
        for seed in 0..seeds {
            let disk = SimulatedDisk::new(seed);
            disk.die_at(dies_at);
            let told = run(&disk);
            disk.crash(crash);
            check(
                &disk,
                &told,
                &format!("death at call {dies_at}, seed {seed}"),
            );
        }
    }
}

#[test]
fn a_power_cut_at_any_call_loses_nothing_acknowledged_and_invents_nothing() {
    die_everywhere(Crash::Power, 12);
}

#[test]
fn a_kill_at_any_call_loses_nothing_acknowledged_and_invents_nothing() {
    die_everywhere(Crash::Process, 3);
}

#[test]
fn a_call_that_fails_anywhere_loses_nothing_acknowledged_and_invents_nothing() {
    let disk = SimulatedDisk::new(0);
    run(&disk);
    let calls = disk.performed().len();
    for kind in [ErrorKind::Other, ErrorKind::StorageFull] {
        // One call, and so many in a row that writing elsewhere fails too.
        for (first, count) in (0..calls).flat_map(|first| [(first, 1), (first, 4)]) {
            for crash in [Crash::Power, Crash::Process] {
                let disk = SimulatedDisk::new(first as u64);
                disk.fail_at(first..first + count, kind);
                let told = run(&disk);
                disk.crash(crash);
                let context = format!("{count} calls from {first} on fail with {kind}, {crash:?}");
                check(&disk, &told, &context);
            }
        }
    }
}
