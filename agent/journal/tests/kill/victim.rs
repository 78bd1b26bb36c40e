//! The process that is killed: appends from several threads until it dies, and says what it was
//! told.
//!
//! Owns what a record holds and what a line says. Invariant: a line is written after the answer,
//! and the one about giving up before it is asked for.

use std::collections::VecDeque;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use hookplane_journal::io::RealDirectory;
use hookplane_journal::{AppendError, Appending, Journal, Options, Position, Record};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

const WRITERS: u32 = 4;
/// Appends of one thread that wait for their answer together.
const IN_FLIGHT: usize = 6;
/// Segments kept; those before are given up and their files used again.
const KEPT: u32 = 24;

pub(crate) fn options() -> Options {
    Options {
        segment_bytes: 256 << 10,
        spare_segments: 2,
        batch_bytes: 128 << 10,
        ..Options::default()
    }
}

/// Who wrote a record, and which one of its batch it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Label {
    pub(crate) round: u32,
    pub(crate) writer: u32,
    /// From 0, in the order in which the writer handed them in.
    pub(crate) batch: u32,
    pub(crate) place: u32,
    pub(crate) of: u32,
}

impl Label {
    fn numbers(self) -> [u32; 5] {
        [self.round, self.writer, self.batch, self.place, self.of]
    }

    /// The record follows from the label, so that the test knows every byte of it.
    pub(crate) fn record(self) -> Record {
        let numbers = self.numbers();
        let seed = numbers.iter().fold(7, |sum: u64, number| {
            (sum ^ u64::from(*number)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        });
        let mut random = StdRng::seed_from_u64(seed);
        let most = [200, 2_000, 30_000][random.random_range(0..3)];
        let payload = [
            numbers.map(u32::to_le_bytes).concat(),
            seed.to_le_bytes().repeat(random.random_range(0..most / 8)),
        ];
        Record::new(random.random(), payload.concat())
    }

    pub(crate) fn of(record: &Record) -> Self {
        let mut numbers = record.payload.chunks_exact(4).map(|four| {
            let four: [u8; 4] = four.try_into().unwrap();
            u32::from_le_bytes(four)
        });
        let mut next = || numbers.next().expect("every record begins with its label");
        Self {
            round: next(),
            writer: next(),
            batch: next(),
            place: next(),
            of: next(),
        }
    }
}

pub(crate) fn run(folder: &Path, round: u32) {
    let directory = Arc::new(RealDirectory::open(folder).unwrap());
    let (journal, recovery) = Journal::open(directory, options(), rand::random).unwrap();
    let torn = u32::from(recovery.torn.is_some());
    tell(format!("opened {} {torn}", recovery.damage.len()));
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let journal = journal.clone();
            scope.spawn(move || write(&journal, round, writer));
        }
        give_up(&journal);
    });
}

/// One call for a whole line, so that lines do not mix.
fn tell(mut line: String) {
    line.push('\n');
    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
}

fn write(journal: &Journal, round: u32, writer: u32) {
    let mut sizes = StdRng::seed_from_u64(u64::from(round) << 8 | u64::from(writer));
    let mut waiting: VecDeque<(u32, Appending)> = VecDeque::new();
    for batch in 0.. {
        let of = sizes.random_range(1..=4);
        let label = |place| Label {
            round,
            writer,
            batch,
            place,
            of,
        };
        let records: Vec<Record> = (0..of).map(|place| label(place).record()).collect();
        waiting.push_back((batch, hand_in(journal, &records, sizes.random())));
        if waiting.len() >= IN_FLIGHT {
            let (batch, answer) = waiting.pop_front().unwrap();
            let positions = answer.wait().unwrap();
            let positions: Vec<_> = positions.iter().map(|at| at.to_u64().to_string()).collect();
            tell(format!(
                "stored {round} {writer} {batch} {}",
                positions.join(" ")
            ));
        }
    }
}

fn hand_in(journal: &Journal, records: &[Record], urgent: bool) -> Appending {
    loop {
        let handed_in = if urgent {
            journal.append_urgent(records.to_vec())
        } else {
            journal.append(records.to_vec())
        };
        match handed_in {
            Err(AppendError::Busy) => std::thread::yield_now(),
            other => return other.unwrap(),
        }
    }
}

/// Follows the writers; one segment at a time, so that a kill often falls into it.
fn give_up(journal: &Journal) {
    let mut said = 0;
    loop {
        let end = journal.end().map_or(0, |end| end.segment);
        let below = end.saturating_sub(KEPT);
        if below > said {
            said = below;
            tell(format!("below {below}"));
            journal.retain_and_wait(Position::new(below, 0)).unwrap();
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}
