//! Everything random of a run, drawn from its seed.
//!
//! A run lives on one thread, and so do its draws: what the agent draws comes from here too.
//! Invariant: nothing is drawn on a thread that was not given a seed.

use std::cell::RefCell;

use rand::rngs::StdRng;
use rand::{RngCore as _, SeedableRng as _};

thread_local! {
    static AGENT: RefCell<Option<StdRng>> = const { RefCell::new(None) };
}

/// A stream of draws of its own for each purpose, so that one does not shift another.
pub(crate) fn stream(seed: u64, purpose: u64) -> StdRng {
    StdRng::seed_from_u64(seed ^ purpose.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// What the agent of this thread's run draws from now on.
pub(crate) fn seed_agent(seed: u64) {
    AGENT.with(|random| *random.borrow_mut() = Some(stream(seed, 1)));
}

/// For the agent, as a function it can carry.
pub(crate) fn draw() -> u64 {
    AGENT.with(|random| {
        let mut random = random.borrow_mut();
        let random = random.as_mut().expect("the run was given its seed");
        random.next_u64()
    })
}
