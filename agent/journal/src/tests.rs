//! What the tests share: small journals on a simulated disk, and the words for what is in them.

mod arbitrary_bytes;
mod bad_sectors;
mod basics;
mod concurrency;
mod corpus;
mod crash_points;
mod full_disk;
mod known_faults;
mod model;
mod witnesses;

use std::time::Duration;

use crate::io::simulated::SimulatedDisk;
use crate::{Entry, Journal, Options, Position, ReadError, Record, Recovery};

const SEGMENT: u32 = 64 << 10;

/// Small enough to roll often; no pause, so that every append after a failure is tried.
fn options() -> Options {
    Options {
        segment_bytes: SEGMENT,
        spare_segments: 2,
        reserve: false,
        batch_bytes: 48 << 10,
        failure_pause: Duration::ZERO,
        ..Options::default()
    }
}

fn open_with(disk: &SimulatedDisk, options: Options) -> (Journal, Recovery) {
    // Salts differ from run to run, as random ones would.
    let mut salt = disk.performed().len() as u64;
    let salts = move || {
        salt += 1;
        salt.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    };
    Journal::open(disk.directory(), options, salts).expect("the journal opens")
}

fn open(disk: &SimulatedDisk) -> Journal {
    open_with(disk, options()).0
}

/// A payload that tells its number and its size.
fn payload(number: u32, length: usize) -> Vec<u8> {
    let seed = number.to_le_bytes();
    (0..length)
        .map(|at| seed[at % 4] ^ (at >> 2).to_le_bytes()[0])
        .collect()
}

fn record(number: u32, length: usize) -> Record {
    Record::new(number.to_le_bytes()[0], payload(number, length))
}

fn append(journal: &Journal, records: &[Record]) -> Vec<Position> {
    try_append(journal, records).expect("the append succeeds")
}

fn try_append(journal: &Journal, records: &[Record]) -> Result<Vec<Position>, crate::AppendError> {
    journal.append(records.to_vec())?.wait()
}

fn retain(journal: &Journal, below: Position) -> Result<usize, crate::RetainError> {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.expect("a runtime without drivers");
    runtime.block_on(journal.retain(below))
}

/// Everything from a position on, errors included.
fn scan(journal: &Journal, from: Position) -> Vec<Result<Entry, ReadError>> {
    journal.scan(from).collect()
}

/// Everything there is; panics on damage.
fn all(journal: &Journal) -> Vec<(Position, Record)> {
    let found = scan(journal, Position::START).into_iter();
    found
        .map(|entry| entry.expect("a whole record"))
        .map(|entry| (entry.position, entry.record))
        .collect()
}

/// Positions with the records appended at them.
fn with<'a>(
    positions: Vec<Position>,
    records: &'a [Record],
) -> impl Iterator<Item = (Position, Record)> + 'a {
    positions.into_iter().zip(records.iter().cloned())
}
