//! Whatever is appended is read back, through restarts, kills and power cuts.

use arbitrary::{Arbitrary, Unstructured};

use super::written::{Step, Written};
use crate::{Position, ReadError, Record};

/// Steps of one input; more would only repeat.
const STEPS: usize = 64;

#[derive(Debug, Arbitrary)]
struct Plan {
    seed: u64,
    steps: Vec<Step>,
}

/// Performs the steps that the bytes mean and compares all there is after each.
pub fn batches(bytes: &[u8]) {
    let Ok(plan) = Plan::arbitrary_take_rest(Unstructured::new(bytes)) else {
        return;
    };
    let mut written = Written::new(plan.seed);
    for step in plan.steps.iter().take(STEPS) {
        written.perform(step);
        compare(&written);
    }
}

fn compare(written: &Written) {
    let journal = written.journal();
    let found: Result<Vec<(Position, Record)>, ReadError> = journal
        .scan(Position::START)
        .map(|entry| entry.map(|entry| (entry.position, entry.record)))
        .collect();
    let found = found.expect("nothing was harmed");
    assert!(
        found
            .iter()
            .map(|(at, record)| (at, record))
            .eq(&written.kept)
    );
    for (position, record) in &written.ever {
        match journal.read(*position) {
            Ok(read) => assert_eq!(read, *record),
            Err(ReadError::Gone(_)) => assert!(!written.kept.contains_key(position)),
            Err(error) => panic!("{position} is lost: {error}"),
        }
    }
}
