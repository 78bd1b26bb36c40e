//! Any bytes decode to an entry or to an error, and an entry comes back. The target is the agent's own; this is the door to libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hookplane_agent::store::journal::fuzzing::decode(bytes));
