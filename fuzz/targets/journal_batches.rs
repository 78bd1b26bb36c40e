//! Whatever is appended is read back. The target is the journal's own; this is the door to libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hookplane_journal::fuzzing::batches(bytes));
