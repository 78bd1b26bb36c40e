//! From a stored event to real receivers on loopback, with every outcome they can have.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod exchange;
mod faults;
mod faulty;
mod handlers;
mod hostile;
mod proof;
mod protection;
mod receiver;
mod world;
