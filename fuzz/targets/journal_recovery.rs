//! Harm costs what it touched and nothing else. The target is the journal's own; this is the door to libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hookplane_journal::fuzzing::recovery(bytes));
