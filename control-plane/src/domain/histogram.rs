//! Exponential histograms: merged without loss of counts, read as percentiles.
//!
//! Owns the arithmetic of buckets. Refuses to know units and where the numbers
//! come from. Invariants: a merge keeps every count; no histogram has more than
//! [`MAX_BUCKETS`] buckets, so resolution is given up instead of memory.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Most buckets one histogram keeps.
pub const MAX_BUCKETS: usize = 160;
/// Most buckets one may arrive with.
const MAX_RECEIVED: usize = 1_024;
const MIN_SCALE: i32 = -10;
const MAX_SCALE: i32 = 20;

/// Bucket `i` counts values in `(base^(offset+i), base^(offset+i+1)]` with `base = 2^(2^-scale)`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    scale: i32,
    offset: i32,
    counts: Vec<u64>,
    zero_count: u64,
    sum: f64,
    max: f64,
}

/// Why numbers make no histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidHistogram {
    #[error("its scale is not between {MIN_SCALE} and {MAX_SCALE}")]
    Scale,
    #[error("it has more than {MAX_RECEIVED} buckets")]
    Buckets,
    #[error("its sum or maximum is not a number")]
    Number,
}

impl Histogram {
    /// # Errors
    /// [`InvalidHistogram`] when the parts do not fit together.
    pub fn new(
        scale: i32,
        offset: i32,
        counts: Vec<u64>,
        zero_count: u64,
        (sum, max): (f64, f64),
    ) -> Result<Self, InvalidHistogram> {
        if !(MIN_SCALE..=MAX_SCALE).contains(&scale) {
            return Err(InvalidHistogram::Scale);
        }
        if counts.len() > MAX_RECEIVED {
            return Err(InvalidHistogram::Buckets);
        }
        if !sum.is_finite() || !max.is_finite() {
            return Err(InvalidHistogram::Number);
        }
        let made = Self {
            scale,
            offset,
            counts,
            zero_count,
            sum,
            max,
        };
        Ok(made.fitted(MIN_SCALE))
    }

    /// How many values it counts.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts
            .iter()
            .fold(self.zero_count, |all, more| all.saturating_add(*more))
    }

    /// Adds the counts of another one, at the coarser of both scales.
    pub fn merge(&mut self, other: &Self) {
        self.zero_count = self.zero_count.saturating_add(other.zero_count);
        self.sum += other.sum;
        self.max = self.max.max(other.max);
        if other.counts.is_empty() {
            return;
        }
        if self.counts.is_empty() {
            self.scale = other.scale;
            self.offset = other.offset;
            self.counts.clone_from(&other.counts);
            return;
        }
        let mut scale = self.scale.min(other.scale);
        while span(self, other, scale) > MAX_BUCKETS as i64 {
            scale -= 1;
        }
        let mut here = std::mem::take(self).at(scale);
        let there = other.clone().at(scale);
        let first = here.offset.min(there.offset);
        let last = here.end().max(there.end());
        let length = usize::try_from(last - i64::from(first)).unwrap_or(MAX_BUCKETS);
        let mut counts = vec![0_u64; length];
        for part in [&here, &there] {
            let shift = usize::try_from(i64::from(part.offset) - i64::from(first)).unwrap_or(0);
            for (slot, count) in counts.iter_mut().skip(shift).zip(&part.counts) {
                *slot = slot.saturating_add(*count);
            }
        }
        here.offset = first;
        here.counts = counts;
        *self = here;
    }

    /// The value that a share `q` (0 to 1) of the values does not exceed, within
    /// half a bucket; `None` without values.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a rank between 1 and the count"
        )]
        let rank = ((q.clamp(0.0, 1.0) * count as f64).ceil() as u64).clamp(1, count);
        let mut seen = self.zero_count;
        if rank <= seen {
            return Some(0.0);
        }
        for (index, bucket) in (i64::from(self.offset)..).zip(&self.counts) {
            seen = seen.saturating_add(*bucket);
            if rank <= seen {
                return Some(self.middle(index).min(self.max));
            }
        }
        Some(self.max)
    }

    /// Between the bounds of a bucket, at equal ratio to both.
    fn middle(&self, index: i64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "indexes are small")]
        let place = index as f64 + 0.5;
        (place * (-f64::from(self.scale)).exp2()).exp2()
    }

    fn end(&self) -> i64 {
        i64::from(self.offset) + self.counts.len() as i64
    }

    /// The same counts at a coarser scale.
    fn at(mut self, scale: i32) -> Self {
        let shift = (self.scale - scale).clamp(0, 31);
        if shift == 0 || self.counts.is_empty() {
            self.scale = scale;
            return self;
        }
        let first = self.offset >> shift;
        let mut counts: Vec<u64> = Vec::new();
        for (index, count) in (i64::from(self.offset)..).zip(&self.counts) {
            let slot = usize::try_from((index >> shift) - i64::from(first)).unwrap_or(0);
            if slot >= counts.len() {
                counts.resize(slot + 1, 0);
            }
            counts[slot] = counts[slot].saturating_add(*count);
        }
        self.scale = scale;
        self.offset = first;
        self.counts = counts;
        self
    }

    fn fitted(self, lowest: i32) -> Self {
        let mut scale = self.scale;
        while span(&self, &self, scale) > MAX_BUCKETS as i64 && scale > lowest - 31 {
            scale -= 1;
        }
        self.at(scale)
    }
}

/// Buckets that two histograms need together at a scale not finer than theirs.
fn span(one: &Histogram, other: &Histogram, scale: i32) -> i64 {
    let bounds = |part: &Histogram| {
        let shift = (part.scale - scale).clamp(0, 62);
        (i64::from(part.offset) >> shift, (part.end() - 1) >> shift)
    };
    let ((first, last), (start, end)) = (bounds(one), bounds(other));
    last.max(end) - first.min(start) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Puts values where the definition says.
    fn of(scale: i32, values: &[f64]) -> Histogram {
        let mut all = Histogram::default();
        for value in values {
            #[expect(clippy::cast_possible_truncation, reason = "small indexes")]
            let index = (value.log2() * f64::from(scale).exp2()).ceil() as i32 - 1;
            let one = Histogram::new(scale, index, vec![1], 0, (*value, *value)).expect("valid");
            all.merge(&one);
        }
        all
    }

    #[test]
    fn percentiles_of_a_merge_are_those_of_all_values() {
        let low: Vec<f64> = (1..=500).map(f64::from).collect();
        let high: Vec<f64> = (501..=1000).map(f64::from).collect();
        let mut merged = of(5, &low);
        merged.merge(&of(3, &high));
        assert_eq!(merged.count(), 1000, "a merge keeps every count");
        for (q, right) in [(0.5, 500.0), (0.9, 900.0), (0.99, 990.0)] {
            let found = merged.quantile(q).expect("there are values");
            let error = (found / right - 1.0).abs();
            assert!(error < 0.1, "p{q}: {found} instead of {right}");
        }
        assert_eq!(merged.quantile(1.0).map(|v| v <= 1000.0), Some(true));
    }

    #[test]
    fn a_wide_range_costs_resolution_and_no_count() {
        let mut wide = of(20, &[1.0, 2.0]);
        wide.merge(&of(20, &[1e12]));
        assert!(wide.counts.len() <= MAX_BUCKETS, "{}", wide.counts.len());
        assert_eq!(wide.count(), 3);
        let top = wide.quantile(1.0).expect("values");
        assert!((1e10..=1e12).contains(&top), "{top}");
    }

    #[test]
    fn zeros_and_emptiness_have_percentiles_too() {
        assert_eq!(Histogram::default().quantile(0.5), None);
        let zeros = Histogram::new(0, 0, vec![], 7, (0.0, 0.0)).expect("valid");
        assert_eq!(zeros.quantile(0.99), Some(0.0));
    }

    #[test]
    fn extremes_of_the_wire_are_refused_or_merged_without_overflow() {
        let refused = Histogram::new(99, 0, vec![1], 0, (1.0, 1.0));
        assert_eq!(refused, Err(InvalidHistogram::Scale));
        let nan = Histogram::new(0, 0, vec![1], 0, (f64::NAN, 1.0));
        assert_eq!(nan, Err(InvalidHistogram::Number));
        let mut low = Histogram::new(20, i32::MIN, vec![u64::MAX; 2], 0, (1.0, 1.0)).expect("ok");
        let high = Histogram::new(20, i32::MAX, vec![1; 900], 0, (1.0, 1.0)).expect("ok");
        low.merge(&high);
        assert_eq!(low.count(), u64::MAX, "counts saturate");
        assert!(low.counts.len() <= MAX_BUCKETS);
    }
}
