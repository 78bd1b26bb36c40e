//! What the fuzzer calls: bytes in, and a panic when a promise of the journal is broken.
//!
//! Owns the targets and what their bytes mean. Refuses to know who finds the bytes: libFuzzer in
//! `fuzz/`, or the files kept from earlier runs in `cargo test`. Invariants: what a target does
//! depends on its bytes only; bytes that mean nothing are no failure.

mod batches;
mod forged;
mod harm;
mod recovery;
mod written;

use crate::io::simulated::SimulatedDisk;
use crate::{Journal, OpenError, Options, Recovery};

pub use batches::batches;
pub use forged::forged;
pub use recovery::recovery;

/// Six blocks, so that few bytes of the fuzzer fill some.
const SEGMENT: u32 = 24 << 10;
const BATCH: usize = 12 << 10;

fn options() -> Options {
    Options {
        segment_bytes: SEGMENT,
        spare_segments: 1,
        reserve: false,
        batch_bytes: BATCH,
        failure_pause: std::time::Duration::ZERO,
        ..Options::default()
    }
}

fn try_open(disk: &SimulatedDisk) -> Result<(Journal, Recovery), OpenError> {
    // Differs from one opening to the next, as random numbers would.
    let mut salt = disk.performed().len() as u64;
    let salts = move || {
        salt += 1;
        salt.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    };
    Journal::open(disk.directory(), options(), salts)
}

fn open(disk: &SimulatedDisk) -> (Journal, Recovery) {
    try_open(disk).expect("the disk works and no format is unknown")
}
