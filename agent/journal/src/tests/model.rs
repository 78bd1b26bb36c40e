//! Random actions on a journal and on a model of it, compared after each.

use std::io::ErrorKind;

use proptest::prelude::*;

use super::{open_with, options, record, retain, scan, try_append};
use crate::io::simulated::{Crash, Operation, SimulatedDisk};
use crate::{AppendError, Journal, Options, Position, ReadError, Record};

#[derive(Clone, Debug)]
enum Action {
    Append(Vec<usize>),
    AppendUrgent(usize),
    /// Several batches at once, so that they share groups.
    AppendMany(Vec<usize>),
    Read(prop::sample::Index),
    ScanFrom(prop::sample::Index),
    Retain(prop::sample::Index),
    Close,
    Kill,
    CutPower,
    /// The run ends some calls to the disk from here, in the midst of appends and giving up.
    DieWithin {
        calls: usize,
        lengths: Vec<usize>,
        below: prop::sample::Index,
        crash: Crash,
    },
    /// The run ends and so does the next one, while it opens what is there.
    DieOpening {
        calls: usize,
        crash: Crash,
    },
    Fail(Operation),
    Fill,
    Free,
    ShortWrites(bool),
}

fn action() -> impl Strategy<Value = Action> {
    let length =
        || prop_oneof![4 => 0..2_000_usize, 2 => 2_000..9_000_usize, 1 => 9_000..40_000_usize];
    let operation = prop_oneof![
        3 => Just(Operation::Sync),
        2 => Just(Operation::Write),
        1 => Just(Operation::Create),
        1 => Just(Operation::Rename),
        1 => Just(Operation::Remove),
        1 => Just(Operation::SyncDirectory),
        1 => Just(Operation::Truncate),
    ];
    let index = any::<prop::sample::Index>;
    let crash = || prop_oneof![Just(Crash::Power), Just(Crash::Process)];
    prop_oneof![
        10 => prop::collection::vec(length(), 1..3)
            .prop_filter("fits a batch", |lengths| lengths.iter().sum::<usize>() < 49_000)
            .prop_map(Action::Append),
        2 => length().prop_map(Action::AppendUrgent),
        3 => prop::collection::vec(length(), 2..8).prop_map(Action::AppendMany),
        3 => index().prop_map(Action::Read),
        2 => index().prop_map(Action::ScanFrom),
        2 => index().prop_map(Action::Retain),
        1 => Just(Action::Close),
        1 => Just(Action::Kill),
        2 => Just(Action::CutPower),
        3 => (0..12_usize, prop::collection::vec(length(), 1..6), index(), crash())
            .prop_map(|(calls, lengths, below, crash)| {
                Action::DieWithin { calls, lengths, below, crash }
            }),
        1 => (0..4_usize, crash()).prop_map(|(calls, crash)| Action::DieOpening { calls, crash }),
        3 => operation.prop_map(Action::Fail),
        1 => Just(Action::Fill),
        2 => Just(Action::Free),
        1 => any::<bool>().prop_map(Action::ShortWrites),
    ]
}

struct Run {
    disk: SimulatedDisk,
    options: Options,
    journal: Option<Journal>,
    /// What the journal must give.
    kept: Vec<(Position, Record)>,
    /// Batches refused since the journal was opened, with how many records were kept before: after
    /// a crash each may be there or not.
    unknown: Vec<(usize, Vec<Record>)>,
    /// Segments up to here may be gone after a crash.
    given_up: u32,
    number: u32,
}

impl Run {
    fn new(seed: u64, reserve: bool) -> Self {
        let disk = SimulatedDisk::new(seed);
        let options = Options {
            reserve,
            ..options()
        };
        let (journal, _) = open_with(&disk, options.clone());
        Self {
            disk,
            options,
            journal: Some(journal),
            kept: Vec::new(),
            unknown: Vec::new(),
            given_up: 0,
            number: 0,
        }
    }

    fn journal(&self) -> &Journal {
        self.journal.as_ref().expect("open between actions")
    }

    fn records(&mut self, lengths: &[usize]) -> Vec<Record> {
        let records = lengths.iter().map(|length| {
            self.number += 1;
            record(self.number, *length)
        });
        records.collect()
    }

    fn told(&mut self, batch: Vec<Record>, outcome: Result<Vec<Position>, AppendError>) {
        match outcome {
            Ok(positions) => {
                let last = self.kept.last().map_or(Position::START, |(last, _)| *last);
                assert!(
                    positions.is_sorted() && positions[0] > last,
                    "positions grow"
                );
                self.kept.extend(positions.into_iter().zip(batch));
            }
            Err(AppendError::Full(_) | AppendError::Failed(_)) => {
                self.unknown.push((self.kept.len(), batch));
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Append(lengths) => {
                let batch = self.records(&lengths);
                let outcome = try_append(self.journal(), &batch);
                self.told(batch, outcome);
            }
            Action::AppendUrgent(length) => {
                let batch = self.records(&[length]);
                let outcome = self.journal().append_urgent(batch.clone()).unwrap().wait();
                self.told(batch, outcome);
            }
            Action::AppendMany(lengths) => self.append_many(&lengths),
            Action::Read(index) => self.read(index),
            Action::ScanFrom(index) => self.scan(index),
            Action::Retain(index) => self.retain(index),
            Action::Close => self.restart(None),
            Action::Kill => self.restart(Some(Crash::Process)),
            Action::CutPower => self.restart(Some(Crash::Power)),
            Action::DieWithin {
                calls,
                lengths,
                below,
                crash,
            } => {
                self.disk.die_at(self.disk.performed().len() + calls);
                self.append_many(&lengths);
                self.retain(below);
                self.restart(Some(crash));
            }
            Action::DieOpening { calls, crash } => self.die_opening(calls, crash),
            Action::Fail(operation) => self.disk.fail_next(operation, ErrorKind::Other),
            Action::Fill => self.disk.set_capacity(self.disk.used()),
            Action::Free => self.disk.set_capacity(u64::MAX),
            Action::ShortWrites(short) => self.disk.set_short_writes(short),
        }
    }

    fn append_many(&mut self, lengths: &[usize]) {
        let batches: Vec<_> = lengths
            .iter()
            .map(|length| self.records(&[*length]))
            .collect();
        let answers: Vec<_> = batches
            .iter()
            .map(|batch| self.journal().append(batch.clone()).unwrap())
            .collect();
        for (batch, answer) in batches.into_iter().zip(answers) {
            self.told(batch, answer.wait());
        }
    }

    fn die_opening(&mut self, calls: usize, crash: Crash) {
        self.disk.die_at(self.disk.performed().len());
        self.journal = None;
        self.disk.crash(crash);
        self.disk.die_at(self.disk.performed().len() + calls);
        // It may get as far as being opened, and then do nothing.
        drop(Journal::open(
            self.disk.directory(),
            self.options.clone(),
            || 1,
        ));
        self.disk.crash(crash);
        self.reopen();
    }

    fn read(&self, index: prop::sample::Index) {
        if !self.kept.is_empty() {
            let (position, record) = index.get(&self.kept);
            assert_eq!(self.journal().read(*position).unwrap(), *record);
        }
    }

    fn scan(&self, index: prop::sample::Index) {
        if !self.kept.is_empty() {
            let at = index.index(self.kept.len());
            let found = entries(self.journal(), self.kept[at].0);
            assert_eq!(found, self.kept[at..]);
        }
    }

    fn retain(&mut self, index: prop::sample::Index) {
        if self.kept.is_empty() {
            return;
        }
        let below = index.get(&self.kept).0;
        let gone = self.kept.first().map(|(first, _)| *first);
        match retain(self.journal(), below) {
            Ok(_) => {
                self.kept
                    .retain(|(position, _)| position.segment >= below.segment);
                let read = gone.map(|gone| self.journal().read(gone));
                if gone.is_some_and(|gone| gone.segment < below.segment) {
                    assert!(matches!(read, Some(Err(ReadError::Gone(_)))));
                }
            }
            Err(_) => {
                let oldest = self.journal().oldest().map_or(0, |oldest| oldest.segment);
                self.kept.retain(|(position, _)| position.segment >= oldest);
            }
        }
        self.given_up = self.given_up.max(below.segment);
        // Those before it count no more for what was refused.
        let before: Vec<_> = std::mem::take(&mut self.unknown);
        self.unknown = before.into_iter().map(|(_, batch)| (0, batch)).collect();
    }

    fn restart(&mut self, crash: Option<Crash>) {
        if let Some(crash) = crash {
            // Nothing more reaches the disk, not even the mark of closing. A disk that has died
            // before stays dead.
            self.disk.die_at(self.disk.performed().len());
            self.journal = None;
            self.disk.crash(crash);
        } else {
            self.journal = None;
            self.disk.forget_failures();
        }
        self.reopen();
    }

    fn reopen(&mut self) {
        let (journal, recovery) = open_with(&self.disk, self.options.clone());
        assert_eq!(recovery.damage, []);
        let found = entries(&journal, Position::START);
        self.kept = self.reconcile(found);
        self.unknown.clear();
        self.journal = Some(journal);
    }

    /// Checks what a restart found: everything kept, and of the rest only whole refused batches.
    fn reconcile(&self, found: Vec<(Position, Record)>) -> Vec<(Position, Record)> {
        let mut kept = self.kept.iter().peekable();
        let mut unknown = self.unknown.iter().map(|(_, batch)| batch);
        let mut rest = found.as_slice();
        while let Some((first, others)) = rest.split_first() {
            if kept.next_if(|kept| *kept == first).is_some() {
                rest = others;
            } else if first.0.segment < self.given_up {
                // Given up, and the power went before that was on disk.
                rest = others;
            } else {
                let batch = unknown
                    .find(|batch| {
                        let here = rest.iter().map(|(_, record)| record);
                        rest.len() >= batch.len()
                            && here.zip(*batch).all(|(here, sent)| here == sent)
                    })
                    .unwrap_or_else(|| panic!("invented: {first:?}"));
                rest = &rest[batch.len()..];
            }
        }
        assert_eq!(kept.next(), None, "lost");
        found
    }
}

fn entries(journal: &Journal, from: Position) -> Vec<(Position, Record)> {
    let found = scan(journal, from).into_iter().map(|entry| entry.unwrap());
    found.map(|entry| (entry.position, entry.record)).collect()
}

proptest! {
    #[test]
    fn the_journal_does_what_the_model_does(
        seed: u64,
        reserve: bool,
        actions in prop::collection::vec(action(), 1..60),
    ) {
        let mut run = Run::new(seed, reserve);
        for action in actions {
            run.perform(action);
        }
        prop_assert_eq!(entries(run.journal(), Position::START), run.kept.clone());
        run.restart(Some(Crash::Power));
    }
}
