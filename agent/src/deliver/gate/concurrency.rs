//! How many deliveries a receiver takes at once, found out by trying.
//!
//! Starts low, grows while latency stays near what it was at its best, and
//! shrinks by a share when deliveries fail or latency blows up. Invariants: the
//! limit stays between 1 and the configured ceiling; one bad moment counts once,
//! however many deliveries were under way in it; what is not used does not grow.

use super::{Moment, Verdict};

const START: f64 = 4.0;
/// Left of the limit after failures, and after a blow-up of latency.
const AFTER_FAILURE: f64 = 0.5;
const AFTER_BLOW_UP: f64 = 0.8;
/// Latency is near its best up to this multiple and this much more, in seconds.
const NEAR: f64 = 3.0;
const GRACE: f64 = 0.05;
/// Weight of a new value in the smoothed latency.
const NEWS: f64 = 0.2;
/// In how many seconds the best latency is forgotten while values are higher.
const FORGETTING: f64 = 600.0;
/// With so few under way it is not us who make the receiver slow: its best is what we see.
const ALONE: usize = 2;

#[derive(Clone, Copy, Debug)]
pub(super) struct Concurrency {
    most: f64,
    limit: f64,
    /// Doubles per round until something speaks against it.
    eager: bool,
    latency: Option<Latency>,
    /// Deliveries that began before this have had their say.
    cut_at: Moment,
}

/// In seconds.
#[derive(Clone, Copy, Debug)]
struct Latency {
    /// As good as it gets.
    best: f64,
    smooth: f64,
    at: Moment,
}

impl Concurrency {
    pub(super) fn new(max_in_flight: usize) -> Self {
        let most = max_in_flight.max(1) as f64;
        Self {
            most,
            limit: START.min(most),
            eager: true,
            latency: None,
            cut_at: Moment::ZERO,
        }
    }

    /// Whole deliveries at once.
    pub(super) fn limit(&self) -> usize {
        self.limit as usize
    }

    /// `used` is the most known to have been under way beside it, with itself.
    pub(super) fn learn(&mut self, began: Moment, ended: Moment, verdict: Verdict, used: usize) {
        match verdict {
            Verdict::Good => {
                let took = ended.saturating_sub(began).as_secs_f64();
                if self.is_near(took, ended, used) {
                    self.grow(used);
                } else {
                    self.cut(began, ended, AFTER_BLOW_UP);
                }
            }
            Verdict::Answered => {}
            Verdict::Busy | Verdict::Failed => self.cut(began, ended, AFTER_FAILURE),
        }
    }

    fn is_near(&mut self, took: f64, at: Moment, used: usize) -> bool {
        let before = self.latency.unwrap_or(Latency {
            best: took,
            smooth: took,
            at,
        });
        let since = at.saturating_sub(before.at).as_secs_f64();
        let forgotten = if took < before.best {
            1.0
        } else if used <= ALONE {
            NEWS
        } else {
            (since / FORGETTING).min(1.0)
        };
        let now = Latency {
            best: before.best + forgotten * (took - before.best),
            smooth: before.smooth + NEWS * (took - before.smooth),
            at: at.max(before.at),
        };
        self.latency = Some(now);
        now.smooth <= now.best * NEAR + GRACE
    }

    fn grow(&mut self, used: usize) {
        // A limit that nothing leans on was not tried.
        if (used as f64) * 2.0 < self.limit {
            return;
        }
        let more = if self.eager { 1.0 } else { 1.0 / self.limit };
        self.limit = (self.limit + more).min(self.most);
    }

    fn cut(&mut self, began: Moment, now: Moment, left: f64) {
        if began <= self.cut_at {
            return;
        }
        self.eager = false;
        self.cut_at = now;
        self.limit = (self.limit * left).max(1.0);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::{Just, Strategy as _, any, prop, prop_assert, prop_oneof, proptest};

    use super::*;

    /// Rounds against a receiver that does `capacity` at once and queues the rest.
    fn rounds(limiter: &mut Concurrency, from: Moment, capacity: usize, rounds: usize) -> Moment {
        let mut now = from;
        for _ in 0..rounds {
            let used = limiter.limit();
            let took = Duration::from_millis(100) * used.div_ceil(capacity) as u32;
            for _ in 0..used {
                limiter.learn(now, now + took, Verdict::Good, used);
            }
            now += took;
        }
        now
    }

    #[test]
    fn a_receiver_that_keeps_up_is_used_to_the_ceiling() {
        let mut limiter = Concurrency::new(64);
        assert_eq!(limiter.limit(), 4, "it does not start low");
        rounds(&mut limiter, Moment::from_secs(1), 1_000, 10);
        assert_eq!(limiter.limit(), 64);
    }

    #[test]
    fn the_limit_settles_around_what_the_receiver_can_do() {
        let mut limiter = Concurrency::new(1_000);
        rounds(&mut limiter, Moment::from_secs(1), 10, 400);
        let found = limiter.limit();
        assert!(
            (10..=60).contains(&found),
            "{found} at once for a receiver that does 10"
        );
    }

    #[test]
    fn a_receiver_that_became_slower_for_good_is_used_again() {
        let mut limiter = Concurrency::new(32);
        let mut now = rounds(&mut limiter, Moment::from_secs(1), 1_000, 20);
        let mut lowest = usize::MAX;
        for _ in 0..100 {
            let used = limiter.limit();
            for _ in 0..used {
                limiter.learn(now, now + Duration::from_secs(2), Verdict::Good, used);
            }
            now += Duration::from_secs(2);
            lowest = lowest.min(limiter.limit());
        }
        assert!(
            lowest <= 4,
            "twenty times the latency left {lowest} at once"
        );
        assert_eq!(limiter.limit(), 32, "it never got over it");
    }

    #[test]
    fn one_bad_moment_halves_the_limit_once() {
        let mut limiter = Concurrency::new(64);
        let now = rounds(&mut limiter, Moment::from_secs(1), 1_000, 10);
        for _ in 0..64 {
            limiter.learn(now, now + Duration::from_secs(15), Verdict::Failed, 64);
        }
        assert_eq!(limiter.limit(), 32, "each delivery of the moment cut again");
        let next = now + Duration::from_secs(16);
        limiter.learn(next, next, Verdict::Busy, 32);
        assert_eq!(limiter.limit(), 16);
    }

    #[test]
    fn an_idle_destination_earns_nothing() {
        let mut limiter = Concurrency::new(64);
        for second in 0..1_000 {
            let now = Moment::from_secs(second);
            limiter.learn(now, now, Verdict::Good, 1);
        }
        assert_eq!(limiter.limit(), 4);
    }

    proptest! {
        #[test]
        fn the_limit_stays_between_one_and_the_ceiling(
            most in 0_usize..1_000,
            ends in prop::collection::vec((
                0_u64..100_000, 0_u64..100_000, any::<u16>(),
                prop_oneof![Just(Verdict::Good), Just(Verdict::Answered), Just(Verdict::Busy), Just(Verdict::Failed)]
                    .boxed(),
            ), 0..300),
        ) {
            let mut limiter = Concurrency::new(most);
            for (began, took, used, verdict) in ends {
                let began = Moment::from_millis(began);
                limiter.learn(began, began + Moment::from_millis(took), verdict, used.into());
                prop_assert!((1..=most.max(1)).contains(&limiter.limit()), "{limiter:?}");
            }
        }
    }
}
