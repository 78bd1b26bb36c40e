//! The delivering half of the agent: what is due goes out, its outcome is written,
//! and the policy says what follows.
//!
//! Owns which events are under way. Correctness rests on the store alone: an
//! event stays pending until a completion is written, so whatever is killed,
//! it is sent again (G2, G3). Each destination has its own gate (rate, concurrency,
//! circuit) and its turn, so one that hangs, fails or is owed a million events
//! delays nobody else's (G11).

mod attempt;
mod crew;
mod drains;
mod entries;
mod fair;
mod gate;
mod gates;
pub mod guard;
mod headers;
mod orphans;
mod released;
mod schedule;
mod send;
mod tokens;
pub(crate) mod transform;
mod verdict;

pub use crew::Crew;
pub use gate::Circuit;
pub use gates::{DestinationStanding, Gates};
pub use guard::AddressPolicy;
pub use schedule::{Deliverer, MOST_DELIVERIES};
pub use send::{Sender, TlsUnavailable};
