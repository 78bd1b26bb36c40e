//! The delivering half of the agent: what is due goes out, its outcome is written,
//! and the policy says what follows.
//!
//! Owns which events are under way. Correctness rests on the store alone: an
//! event stays pending until a completion is written, so whatever is killed,
//! it is sent again (G2, G3). Each destination has its own bound, so one that
//! hangs delays nobody else's events (G11).

mod attempt;
pub mod guard;
mod headers;
mod schedule;
mod send;

pub use guard::AddressPolicy;
pub use schedule::Deliverer;
pub use send::{Sender, TlsUnavailable};
