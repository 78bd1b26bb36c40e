//! What the fuzzer found worth keeping, again: inputs that reach far, and those that once failed.

use std::fs;
use std::path::{Path, PathBuf};

use crate::fuzzing;

/// Every kept input of a target, with its name.
fn kept(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let mut found = Vec::new();
    for kind in ["corpus", "regressions"] {
        // A target without regressions has no folder for them.
        let folder = fs::read_dir(root.join(kind).join(target));
        for entry in folder.into_iter().flatten() {
            let path = entry.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            found.push((path, bytes));
        }
    }
    assert!(!found.is_empty(), "{target} has no corpus");
    found
}

fn replay(target: &str, run: fn(&[u8])) {
    for (path, bytes) in kept(target) {
        if std::panic::catch_unwind(|| run(&bytes)).is_err() {
            panic!("{}", path.display());
        }
    }
}

#[test]
fn kept_inputs_of_batches_hold() {
    replay("journal_batches", fuzzing::batches);
}

#[test]
fn kept_inputs_of_recovery_hold() {
    replay("journal_recovery", fuzzing::recovery);
}

#[test]
fn kept_inputs_of_forged_files_hold() {
    replay("journal_forged", fuzzing::forged);
}
