//! What the fuzzer found worth keeping, again: inputs that reach far, and those that once failed.

use std::fs;
use std::path::Path;

use super::super::fuzzing;

fn replay(target: &str, run: fn(&[u8])) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let mut count = 0;
    for kind in ["corpus", "regressions"] {
        // A target without regressions has no folder for them.
        let folder = fs::read_dir(root.join(kind).join(target));
        for entry in folder.into_iter().flatten() {
            let path = entry.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            let outcome = std::panic::catch_unwind(|| run(&bytes));
            assert!(outcome.is_ok(), "{}", path.display());
            count += 1;
        }
    }
    assert!(count > 0, "{target} has no corpus");
}

#[test]
fn kept_bytes_decode_or_are_refused() {
    replay("store_decode", fuzzing::decode);
}

#[test]
fn kept_entries_come_back() {
    replay("store_round_trip", fuzzing::round_trip);
}
