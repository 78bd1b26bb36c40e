//! The rate limit of a destination: a generic cell rate algorithm.
//!
//! Invariant: in no stretch of time as long as the period (its end not counted)
//! do more deliveries start than the limit says. A tenth of them may start at
//! once; the rest is spread evenly, a little slower to make up for that tenth.

use super::Moment;
use crate::config::RateLimit;

#[derive(Clone, Copy, Debug)]
pub(in crate::deliver) struct Pace {
    /// From one start to the next.
    every: Moment,
    /// How far ahead of the even spread a start may be.
    slack: Moment,
    /// When the next start would be on the even spread.
    next: Moment,
}

impl Pace {
    pub(in crate::deliver) fn new(limit: RateLimit) -> Self {
        let at_once = (limit.count / 10).max(1);
        let spread = limit.count.max(1) - at_once + 1;
        let nanos = limit.period.as_nanos().div_ceil(u128::from(spread));
        let every = Moment::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        Self {
            every,
            slack: every * (at_once - 1),
            next: Moment::ZERO,
        }
    }

    /// How many may start now.
    pub(in crate::deliver) fn room(&self, now: Moment) -> usize {
        let ahead = (now + self.slack).checked_sub(self.next.max(now));
        ahead.map_or(0, |ahead| {
            let more = ahead.as_nanos() / self.every.as_nanos().max(1);
            usize::try_from(more)
                .unwrap_or(usize::MAX)
                .saturating_add(1)
        })
    }

    pub(in crate::deliver) fn ready_at(&self) -> Moment {
        self.next.saturating_sub(self.slack)
    }

    pub(in crate::deliver) fn take(&mut self, now: Moment) {
        self.next = self.next.max(now) + self.every;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::{prop, prop_assert, proptest};

    use super::*;

    proptest! {
        #[test]
        fn no_period_ever_holds_more_starts_than_the_limit(
            count in 1_u32..500, period_ms in 1_000_u64..=3_600_000,
            steps in prop::collection::vec((0_u64..40_000, 0_usize..50), 1..300),
        ) {
            let period = Duration::from_millis(period_ms);
            let mut pace = Pace::new(RateLimit { count, period });
            let (mut now, mut starts) = (Moment::from_secs(1), Vec::new());
            for (step, wanted) in steps {
                now += Duration::from_millis(step % (period_ms / 4).max(1));
                for _ in 0..pace.room(now).min(wanted) {
                    pace.take(now);
                    starts.push(now);
                }
            }
            for (first, start) in starts.iter().enumerate() {
                let within = starts[first..].iter().take_while(|at| **at < *start + period).count();
                prop_assert!(within <= count as usize, "{within} starts within a period of {count}");
            }
        }

        #[test]
        fn one_that_always_wants_to_start_gets_nearly_the_whole_rate(count in 1_u32..2_000) {
            let period = Duration::from_secs(60);
            let mut pace = Pace::new(RateLimit { count, period });
            let (mut now, mut started) = (Moment::ZERO, 0_u32);
            while now < period * 10 {
                while pace.room(now) > 0 {
                    pace.take(now);
                    started += 1;
                }
                prop_assert!(pace.ready_at() > now, "no room and no time to wait for");
                now = pace.ready_at();
            }
            prop_assert!(started >= count * 9, "{started} in ten periods of {count}");
        }
    }
}
