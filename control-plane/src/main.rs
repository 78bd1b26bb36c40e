//! `hookplane-control-plane`.

fn main() {}
