//! `hookplane-agent`.

fn main() {}
