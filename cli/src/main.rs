//! The operator's command: configure, look, recover, send, and run both planes in one process.

fn main() {}
