//! The operator's command: configure, look, recover, send, and run both planes
//! in one process.
//!
//! Owns the command line, how answers are shown, the sample traffic and `dev`.
//! Refuses to know more of the control plane than its API: every command but
//! `dev` is an ordinary client with a key.
//!
//! Invariants: answers go to standard output, everything else to standard
//! error; the exit code is 0, 1 (failed) or 2 (usage); nothing asks a question
//! when nobody sits at the terminal.

mod apply;
mod arguments;
mod audit;
mod bulk;
mod dev;
mod evidence;
mod export;
mod failure;
mod fleet;
mod handler_keys;
mod json;
mod keys;
mod lasting;
mod output;
mod resources;
mod rollouts;
mod run;
pub mod samples;
mod secrets;
mod send;
mod session;
mod shadow;
mod shape;
mod teams;

pub use run::{no_runtime, run};
