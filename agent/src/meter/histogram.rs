//! Exponential histograms in the layout of OTLP: merging is addition, and the
//! resolution halves whenever the values spread over too many buckets.
//!
//! Bucket `i` counts values in `(base^(offset+i), base^(offset+i+1)]` with
//! `base = 2^(2^-scale)`. The bucket of a value at a lower scale is its bucket
//! at a higher one shifted, so merged histograms equal the histogram of all values.

/// Most buckets kept.
pub const MAX_BUCKETS: usize = 160;
const FINEST: i32 = 20;

/// Counts of values by size. Values are whole numbers, microseconds here.
#[derive(Clone, Debug, PartialEq)]
pub struct ExponentialHistogram {
    pub scale: i32,
    pub offset: i32,
    pub counts: Vec<u64>,
    pub zero_count: u64,
    pub count: u64,
    pub sum: f64,
    pub max: f64,
}

impl Default for ExponentialHistogram {
    fn default() -> Self {
        Self {
            scale: FINEST,
            offset: 0,
            counts: Vec::new(),
            zero_count: 0,
            count: 0,
            sum: 0.0,
            max: 0.0,
        }
    }
}

impl ExponentialHistogram {
    pub fn record(&mut self, value: u64) {
        let size = value as f64;
        self.count += 1;
        self.sum += size;
        self.max = self.max.max(size);
        if value == 0 {
            self.zero_count += 1;
            return;
        }
        let mut index = index(size, self.scale);
        let span = self.span_with(index, index);
        index >>= self.make_room(span);
        self.add(index, 1);
    }

    /// Adds the counts of another one.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.max = self.max.max(other.max);
        self.zero_count += other.zero_count;
        if other.counts.is_empty() {
            return;
        }
        let mut other = other.clone();
        let coarser = self.scale.min(other.scale);
        self.downscale(self.scale - coarser);
        other.downscale(other.scale - coarser);
        let last = other.offset + length(&other.counts) - 1;
        let shift = self.make_room(self.span_with(other.offset, last));
        other.downscale(shift);
        for (place, count) in other.counts.iter().enumerate() {
            if *count > 0 {
                self.add(other.offset + place as i32, *count);
            }
        }
    }

    /// First and last bucket when this range is counted too.
    fn span_with(&self, first: i32, last: i32) -> (i32, i32) {
        if self.counts.is_empty() {
            return (first, last);
        }
        let own_last = self.offset + length(&self.counts) - 1;
        (self.offset.min(first), own_last.max(last))
    }

    /// Coarsens until the range fits; gives by how many steps.
    fn make_room(&mut self, (first, last): (i32, i32)) -> i32 {
        let mut shift = 0;
        while (last >> shift) - (first >> shift) >= MAX_BUCKETS as i32 {
            shift += 1;
        }
        self.downscale(shift);
        shift
    }

    fn downscale(&mut self, shift: i32) {
        if shift == 0 {
            return;
        }
        self.scale -= shift;
        let old = std::mem::take(&mut self.counts);
        let first = self.offset;
        self.offset = first >> shift;
        for (place, count) in old.into_iter().enumerate() {
            if count > 0 {
                self.add((first + place as i32) >> shift, count);
            }
        }
    }

    fn add(&mut self, index: i32, count: u64) {
        if self.counts.is_empty() {
            self.offset = index;
        }
        if index < self.offset {
            let missing = (self.offset - index) as usize;
            self.counts.splice(0..0, std::iter::repeat_n(0, missing));
            self.offset = index;
        }
        let place = (index - self.offset) as usize;
        if place >= self.counts.len() {
            self.counts.resize(place + 1, 0);
        }
        self.counts[place] += count;
    }
}

fn index(value: f64, scale: i32) -> i32 {
    // Multiplying by a power of two is exact, so scales agree with each other.
    (value.log2() * 2_f64.powi(scale)).ceil() as i32 - 1
}

fn length(counts: &[u64]) -> i32 {
    counts.len() as i32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[u64]) -> ExponentialHistogram {
        let mut histogram = ExponentialHistogram::default();
        for value in values {
            histogram.record(*value);
        }
        histogram
    }

    /// Upper bound of the bucket that holds the value of this rank.
    fn quantile(histogram: &ExponentialHistogram, rank: u64) -> f64 {
        let mut seen = histogram.zero_count;
        if rank < seen {
            return 0.0;
        }
        for (place, count) in histogram.counts.iter().enumerate() {
            seen += count;
            if rank < seen {
                let exponent = f64::from(histogram.offset + place as i32 + 1);
                return (exponent * 2_f64.powi(-histogram.scale)).exp2();
            }
        }
        histogram.max
    }

    proptest! {
        #[test]
        fn merging_equals_counting_everything_in_one(
            left in prop::collection::vec(0_u64..10_000_000_000, 0..200),
            right in prop::collection::vec(0_u64..5_000, 0..200),
        ) {
            let mut merged = of(&left);
            merged.merge(&of(&right));
            let all: Vec<u64> = left.into_iter().chain(right).collect();
            prop_assert_eq!(merged, of(&all));
        }

        #[test]
        fn a_quantile_is_off_by_one_bucket_at_most_and_buckets_stay_bounded(
            mut values in prop::collection::vec(0_u64..100_000_000, 1..300),
        ) {
            let histogram = of(&values);
            prop_assert!(histogram.counts.len() <= MAX_BUCKETS);
            prop_assert_eq!(histogram.count, values.len() as u64);
            let counted: u64 = histogram.counts.iter().sum::<u64>() + histogram.zero_count;
            prop_assert_eq!(counted, histogram.count);
            values.sort_unstable();
            let base = 2_f64.powi(-histogram.scale).exp2();
            for (rank, value) in values.iter().enumerate() {
                let (told, value) = (quantile(&histogram, rank as u64), *value as f64);
                prop_assert!(told >= value * 0.999_999, "{} told for {}", told, value);
                prop_assert!(told <= value * base * 1.000_001, "{} told for {}", told, value);
            }
        }
    }
}
