//! How much may be under way at once: requests, and the bytes of their bodies.
//!
//! Owns the count. Two bounds hold for all together; smaller ones hold for what one
//! source has under way before its senders are verified, and smaller ones again for
//! what one caller has, so that somebody without a secret cannot take what those
//! with one need, at the agent or at a source. Invariant: everything a [`Place`] took is given back when it is dropped.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::client::Client;

/// The bounds. Those of a caller and a source count what is not verified.
#[derive(Clone, Copy, Debug)]
pub struct BudgetLimits {
    pub all: Share,
    pub of_source: Share,
    /// Well below a source's, or one caller could take all of it.
    pub of_client: Share,
}

#[derive(Clone, Copy, Debug)]
pub struct Share {
    pub places: usize,
    pub bytes: usize,
}

pub struct Budget {
    limits: BudgetLimits,
    taken: Mutex<Taken>,
}

/// The entries of callers and sources end with their last place, so the maps are bounded.
#[derive(Default)]
struct Taken {
    all: Part,
    clients: HashMap<Client, Part>,
    sources: HashMap<String, Part>,
}

#[derive(Clone, Copy, Default)]
struct Part {
    places: usize,
    bytes: usize,
}

/// Which bound was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoom {
    Places,
    Bytes,
    OfClient,
    OfSource,
}

/// What one request has taken.
pub struct Place {
    budget: Arc<Budget>,
    client: Client,
    source: Option<String>,
    bytes: usize,
    verified: bool,
}

impl Budget {
    #[must_use]
    pub fn new(limits: BudgetLimits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            taken: Mutex::default(),
        })
    }

    /// A place for one request of a caller.
    ///
    /// # Errors
    /// [`NoRoom`] when there is none, or the caller has its share.
    pub fn enter(self: &Arc<Self>, client: Client) -> Result<Place, NoRoom> {
        let mut taken = self.lock();
        let of_client = taken.clients.get(&client).copied().unwrap_or_default();
        if of_client.places >= self.limits.of_client.places {
            return Err(NoRoom::OfClient);
        }
        if taken.all.places >= self.limits.all.places {
            return Err(NoRoom::Places);
        }
        taken.all.places += 1;
        taken.clients.entry(client).or_default().places += 1;
        Ok(Place {
            budget: Arc::clone(self),
            client,
            source: None,
            bytes: 0,
            verified: false,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl NoRoom {
    /// For the sender and the metrics.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Places => "AGENT_BUSY",
            Self::Bytes => "AGENT_MEMORY_BUSY",
            Self::OfClient => "CLIENT_BUSY",
            Self::OfSource => "SOURCE_BUSY",
        }
    }
}

impl Place {
    /// Counts for a source too, from here on. Called once.
    pub(super) fn for_source(&mut self, id: &str) -> Result<(), NoRoom> {
        let mut taken = self.budget.lock();
        let of_source = taken.sources.get(id).copied().unwrap_or_default();
        if of_source.places >= self.budget.limits.of_source.places {
            return Err(NoRoom::OfSource);
        }
        taken.sources.entry(id.to_owned()).or_default().places += 1;
        self.source = Some(id.to_owned());
        Ok(())
    }

    /// Takes bytes more.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), NoRoom> {
        let limits = self.budget.limits;
        let mut taken = self.budget.lock();
        let full = |part: &Part, share: Share| part.bytes + bytes > share.bytes;
        let client = taken.clients.get(&self.client);
        if client.is_some_and(|part| full(part, limits.of_client)) {
            return Err(NoRoom::OfClient);
        }
        let source = self.source.as_deref().unwrap_or_default();
        let of_source = taken.sources.get(source);
        if of_source.is_some_and(|part| full(part, limits.of_source)) {
            return Err(NoRoom::OfSource);
        }
        if taken.all.bytes + bytes > limits.all.bytes {
            return Err(NoRoom::Bytes);
        }
        taken.all.bytes += bytes;
        if let Some(part) = taken.clients.get_mut(&self.client) {
            part.bytes += bytes;
        }
        if let Some(part) = taken.sources.get_mut(source) {
            part.bytes += bytes;
        }
        self.bytes += bytes;
        Ok(())
    }

    /// The sender is who it should be: only the bounds for all together count from here on.
    pub fn verified(&mut self) {
        self.leave_shares(&mut self.budget.lock());
        self.verified = true;
    }

    fn leave_shares(&self, taken: &mut Taken) {
        if self.verified {
            return;
        }
        let left = |part: &mut Part| {
            part.places -= 1;
            part.bytes -= self.bytes;
            part.places == 0
        };
        if taken.clients.get_mut(&self.client).is_some_and(left) {
            taken.clients.remove(&self.client);
        }
        if let Some(source) = &self.source
            && taken.sources.get_mut(source).is_some_and(left)
        {
            taken.sources.remove(source);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.budget.lock();
        self.leave_shares(&mut taken);
        taken.all.places -= 1;
        taken.all.bytes -= self.bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(places: usize, bytes: usize) -> Share {
        Share { places, bytes }
    }

    fn client(last: u8) -> Client {
        Client::of([192, 0, 2, last].into())
    }

    #[test]
    fn whatever_happens_to_a_place_everything_comes_back() {
        let budget = Budget::new(BudgetLimits {
            all: share(3, 100),
            of_source: share(2, 60),
            of_client: share(2, 60),
        });
        let mut one = budget.enter(client(1)).unwrap();
        one.for_source("src_1").unwrap();
        one.grow(60).unwrap();
        assert_eq!(one.grow(1), Err(NoRoom::OfClient));
        let mut two = budget.enter(client(2)).unwrap();
        two.for_source("src_1").unwrap();
        assert_eq!(two.grow(1), Err(NoRoom::OfSource));
        one.verified();
        two.grow(40).unwrap();
        assert_eq!(two.grow(1), Err(NoRoom::Bytes));
        let mut three = budget.enter(client(2)).unwrap();
        assert_eq!(budget.enter(client(3)).err(), Some(NoRoom::Places));
        drop(one);
        assert_eq!(budget.enter(client(2)).err(), Some(NoRoom::OfClient));
        three.for_source("src_1").unwrap();
        let mut four = budget.enter(client(1)).unwrap();
        assert_eq!(four.for_source("src_1"), Err(NoRoom::OfSource));
        drop((two, three, four));
        let taken = budget.lock();
        assert_eq!((taken.all.places, taken.all.bytes), (0, 0));
        assert!(taken.clients.is_empty() && taken.sources.is_empty());
    }

    #[test]
    fn one_caller_cannot_take_all_that_a_source_may_have() {
        let budget = Budget::new(BudgetLimits {
            all: share(100, 1_000),
            of_source: share(8, 80),
            of_client: share(2, 20),
        });
        let mut held = Vec::new();
        while let Ok(mut place) = budget.enter(client(1)) {
            place.for_source("src_1").unwrap();
            held.push(place);
        }
        assert_eq!(held.len(), 2);
        held[0].grow(20).unwrap();
        assert_eq!(held[1].grow(1), Err(NoRoom::OfClient));
        let mut other = budget.enter(client(2)).unwrap();
        other.for_source("src_1").unwrap();
        other.grow(20).unwrap();
    }
}
