//! The real binary against a control plane made of memory, and a real receiver.
//!
//! Owns what people and scripts see: answers, exit codes, words of errors.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod access;
mod apply;
mod configure;
mod dev;
mod evidence;
mod fake;
mod hookplane;
mod plane;
mod receiver;
mod send;
