//! The system under test: real processes on loopback, driven by verbs.
//!
//! Owns starting, killing and asking the binaries, receivers that misbehave on
//! demand, and signed senders. Refuses to know what is right: tests say so.
//! Invariants: ports are free ones, processes are ended by their id, and every
//! wait is for a state, with a deadline that names what was missing.

mod address;
pub mod api;
pub mod process;
pub mod receiver;
pub mod sender;
pub mod system;
pub mod tls;
pub mod wait;

pub use api::Api;
pub use receiver::{Delivery, Receiver};
pub use sender::{Answer, Source};
pub use system::System;
pub use wait::until;
