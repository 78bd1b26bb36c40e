//! Counts what the stages do: per source and event type, per destination.
//!
//! Owns two sets of numbers: tallies since they were last taken (`report` takes
//! them) and totals since the start (`admin` shows them). Refuses to know who
//! reads them. Invariants: a call allocates only when it meets a source, type,
//! cause or destination for the first time; types per source are capped, and
//! sources and destinations are those of the configuration; per source,
//! received = accepted + rejected + repeats.

pub mod histogram;
mod totals;

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::registry::Registry;

use crate::config::{Configuration, Destination, Source};
use histogram::ExponentialHistogram;
use totals::{DestinationTotals, SourceTotals, Totals};

/// Distinct event types counted per source; the rest is `other`.
const MAX_TYPES: usize = 200;
const OTHER: &str = "other";
const SHARDS: usize = 16;

/// How a stored or refused request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Accepted,
    Repeat,
    /// With the code told to the sender.
    Rejected(&'static str),
}

/// Sums of one source and event type since they were last taken.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SourceTally {
    pub received: u64,
    pub accepted: u64,
    pub rejected: u64,
    pub repeats: u64,
    pub bytes: u64,
    /// Microseconds from the head of the request to its answer; accepted ones only.
    pub accept_latency: ExponentialHistogram,
}

/// Sums of one destination since they were last taken.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DestinationTally {
    pub attempts: u64,
    pub successful: u64,
    pub failed: u64,
    /// Microseconds of each attempt.
    pub delivery_latency: ExponentialHistogram,
    /// Microseconds from being due to the start of the attempt.
    pub start_delay: ExponentialHistogram,
    /// Microseconds from accepted to delivered.
    pub delivered_after: ExponentialHistogram,
}

/// A try that ended.
#[derive(Clone, Copy, Debug)]
pub struct Delivery {
    pub successful: bool,
    pub took_micros: u64,
    /// From being due to its start.
    pub waited_millis: u64,
    /// From accepted to delivered; `None` unless it succeeded.
    pub delivered_after_millis: Option<u64>,
}

/// Everything counted since the last taking.
#[derive(Clone, Debug, Default)]
pub struct Taken {
    /// With team, source and event type; the type is empty when unknown.
    pub sources: Vec<(String, String, String, SourceTally)>,
    /// With team and destination.
    pub destinations: Vec<(String, String, DestinationTally)>,
    /// With team, source and number of the secret: how many requests it verified.
    pub secrets: Vec<(String, String, u32, u64)>,
}

/// Shared by all stages.
#[derive(Default)]
pub struct Meter {
    sources: Shards<SourceEntry>,
    destinations: Shards<DestinationEntry>,
    totals: Totals,
    deliveries: AtomicU64,
}

struct SourceEntry {
    team_id: String,
    by_type: HashMap<String, SourceTally>,
    /// Requests verified by each secret; as many as a source has secrets.
    by_secret: Vec<(u32, u64)>,
    totals: SourceTotals,
}

struct DestinationEntry {
    team_id: String,
    tally: DestinationTally,
    totals: DestinationTotals,
}

impl Meter {
    /// A request of a source reached its end.
    pub fn request(
        &self,
        source: &Source,
        event_type: Option<&str>,
        ending: Ending,
        bytes: u64,
        took: Duration,
    ) {
        let mut shard = self.sources.of(&source.id);
        let entry = self.entry(&mut shard, source);
        entry.totals.count(&self.totals, &source.id, ending, took);
        let tally = of_type(&mut entry.by_type, event_type.unwrap_or_default());
        tally.received += 1;
        tally.bytes += bytes;
        match ending {
            Ending::Accepted => {
                tally.accepted += 1;
                tally.accept_latency.record(micros(took));
            }
            Ending::Repeat => tally.repeats += 1,
            Ending::Rejected(_) => tally.rejected += 1,
        }
    }

    /// A secret of a source verified a request.
    pub fn verified(&self, source: &Source, version: u32) {
        let mut shard = self.sources.of(&source.id);
        let counts = &mut self.entry(&mut shard, source).by_secret;
        match counts.iter_mut().find(|(known, _)| *known == version) {
            Some((_, count)) => *count += 1,
            None => counts.push((version, 1)),
        }
    }

    fn entry<'s>(
        &self,
        shard: &'s mut HashMap<String, SourceEntry>,
        source: &Source,
    ) -> &'s mut SourceEntry {
        // Looked up by the borrowed id first: the entry API would want a copy each time.
        if !shard.contains_key(&source.id) {
            let entry = SourceEntry {
                team_id: source.team_id.clone(),
                by_type: HashMap::new(),
                by_secret: Vec::new(),
                totals: self.totals.of_source(&source.id),
            };
            shard.insert(source.id.clone(), entry);
        }
        shard.get_mut(&source.id).expect("inserted above")
    }

    /// A call was answered before it belonged to a source, or could not be kept.
    pub fn turned_away(&self, code: &'static str) {
        self.totals.turned_away(code);
    }

    /// A try ended.
    pub fn attempt(&self, destination: &Destination, delivery: &Delivery) {
        let mut shard = self.destinations.of(&destination.id);
        if !shard.contains_key(&destination.id) {
            let entry = DestinationEntry {
                team_id: destination.team_id.clone(),
                tally: DestinationTally::default(),
                totals: self.totals.of_destination(&destination.id),
            };
            shard.insert(destination.id.clone(), entry);
        }
        let Some(entry) = shard.get_mut(&destination.id) else {
            return;
        };
        entry.totals.count(delivery);
        entry.tally.attempts += 1;
        if delivery.successful {
            entry.tally.successful += 1;
        } else {
            entry.tally.failed += 1;
        }
        let tally = &mut entry.tally;
        tally.delivery_latency.record(delivery.took_micros);
        tally.start_delay.record(delivery.waited_millis * 1_000);
        if let Some(millis) = delivery.delivered_after_millis {
            tally.delivered_after.record(millis * 1_000);
        }
    }

    pub fn delivery_begins(&self) {
        self.deliveries.fetch_add(1, Ordering::Relaxed);
    }

    pub fn delivery_ends(&self) {
        self.deliveries.fetch_sub(1, Ordering::Relaxed);
    }

    /// Deliveries under way.
    #[must_use]
    pub fn deliveries_in_flight(&self) -> u64 {
        self.deliveries.load(Ordering::Relaxed)
    }

    /// Gives what was counted since the last call and starts anew.
    #[must_use]
    pub fn take(&self) -> Taken {
        let mut taken = Taken::default();
        self.sources.each(|id, entry| {
            for (event_type, tally) in entry.by_type.drain() {
                let team = entry.team_id.clone();
                taken.sources.push((team, id.to_owned(), event_type, tally));
            }
            for (version, count) in entry.by_secret.drain(..) {
                let team = entry.team_id.clone();
                taken.secrets.push((team, id.to_owned(), version, count));
            }
        });
        self.destinations.each(|id, entry| {
            if entry.tally.attempts > 0 {
                let tally = std::mem::take(&mut entry.tally);
                let team = entry.team_id.clone();
                taken.destinations.push((team, id.to_owned(), tally));
            }
        });
        taken
    }

    /// Forgets sources and destinations that are configured no more and have nothing left to take.
    pub fn forget_missing(&self, configuration: &Configuration) {
        let known = &configuration.sources;
        self.sources.keep(|id, entry| {
            let counted = !entry.by_type.is_empty() || !entry.by_secret.is_empty();
            let keep = known.contains_key(id) || counted;
            if !keep {
                entry.totals.remove(&self.totals, id);
            }
            keep
        });
        let known = &configuration.destinations;
        self.destinations.keep(|id, entry| {
            let keep = known.contains_key(id) || entry.tally.attempts > 0;
            if !keep {
                self.totals.remove_destination(id);
            }
            keep
        });
    }

    /// Adds the totals to what `/metrics` shows.
    pub fn register(&self, registry: &mut Registry) {
        self.totals.register(registry);
    }
}

impl Taken {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty() && self.destinations.is_empty() && self.secrets.is_empty()
    }
}

fn of_type<'a>(
    by_type: &'a mut HashMap<String, SourceTally>,
    event_type: &str,
) -> &'a mut SourceTally {
    let full = by_type.len() >= MAX_TYPES && !by_type.contains_key(event_type);
    let key = if full { OTHER } else { event_type };
    // Looked up by the borrowed name first: the entry API would want a copy each time.
    if !by_type.contains_key(key) {
        by_type.insert(key.to_owned(), SourceTally::default());
    }
    by_type.get_mut(key).expect("inserted above")
}

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

/// A map in parts with a lock each, so that two cores rarely wait for each other.
struct Shards<T> {
    parts: [Mutex<HashMap<String, T>>; SHARDS],
    hasher: RandomState,
}

impl<T> Default for Shards<T> {
    fn default() -> Self {
        Self {
            parts: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
        }
    }
}

impl<T> Shards<T> {
    fn of(&self, id: &str) -> MutexGuard<'_, HashMap<String, T>> {
        let place = self.hasher.hash_one(id) as usize % SHARDS;
        self.parts[place]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn each(&self, mut visit: impl FnMut(&str, &mut T)) {
        for part in &self.parts {
            let mut part = part.lock().unwrap_or_else(PoisonError::into_inner);
            for (id, entry) in part.iter_mut() {
                visit(id, entry);
            }
        }
    }

    fn keep(&self, mut wanted: impl FnMut(&str, &mut T) -> bool) {
        for part in &self.parts {
            let mut part = part.lock().unwrap_or_else(PoisonError::into_inner);
            part.retain(|id, entry| wanted(id, entry));
        }
    }
}

#[cfg(test)]
mod tests {
    use hookplane_signature::{AuthSpec, Provider, Verifier};

    use super::*;
    use crate::config::Branches;

    fn source(id: &str) -> Source {
        Source {
            id: id.into(),
            team_id: "tm_1".into(),
            name: id.into(),
            provider: Provider::Webhook,
            enabled: true,
            verifier: Verifier::new(Provider::Webhook, AuthSpec::None, 300).unwrap(),
            methods: Vec::new(),
            custom_response: None,
            max_body_bytes: 1,
            handler_keys: Vec::new(),
            dedupe_window: Duration::ZERO,
            connections: Branches::of(Provider::Webhook, Vec::new()),
            version: 1,
        }
    }

    #[test]
    fn a_sender_that_invents_types_fills_one_slot_and_loses_no_count() {
        let (meter, source) = (Meter::default(), source("src_1"));
        for number in 0..1_000 {
            let name = format!("made.up.{number}");
            let took = Duration::from_micros(number);
            meter.request(&source, Some(&name), Ending::Accepted, 10, took);
        }
        let taken = meter.take().sources;
        assert_eq!(taken.len(), MAX_TYPES + 1);
        let other = taken.iter().find(|(.., name, _)| name == OTHER).unwrap();
        assert_eq!(other.3.accepted, 1_000 - MAX_TYPES as u64);
        assert!(meter.take().is_empty(), "a count was given twice");
    }

    #[test]
    fn every_ending_is_received_once() {
        let (meter, source) = (Meter::default(), source("src_1"));
        for ending in [
            Ending::Accepted,
            Ending::Repeat,
            Ending::Rejected("SOURCE_AUTH_FAILED"),
        ] {
            meter.request(&source, None, ending, 7, Duration::from_millis(1));
        }
        let taken = meter.take().sources;
        let (team, id, event_type, tally) = &taken[0];
        assert_eq!(
            (team.as_str(), id.as_str(), event_type.as_str()),
            ("tm_1", "src_1", "")
        );
        assert_eq!(
            tally.received,
            tally.accepted + tally.rejected + tally.repeats
        );
        assert_eq!(
            (tally.received, tally.bytes, tally.accept_latency.count),
            (3, 21, 1)
        );
    }

    #[test]
    fn what_each_secret_verified_is_counted_once() {
        let (meter, source) = (Meter::default(), source("src_1"));
        for version in [1, 2, 1] {
            meter.verified(&source, version);
        }
        let told = |version, count| ("tm_1".to_owned(), "src_1".to_owned(), version, count);
        assert_eq!(meter.take().secrets, [told(1, 2), told(2, 1)]);
        assert!(meter.take().is_empty(), "a count was given twice");
    }
}
