//! Any entry comes back from its encoding. The target is the agent's own; this is the door to libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(
    |bytes: &[u8]| hookplane_agent::store::journal::fuzzing::round_trip(bytes)
);
