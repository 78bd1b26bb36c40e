//! Latencies: every sample is kept, and sorted once.

use serde::{Deserialize, Serialize};

/// Quantiles in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) samples: u64,
    pub(crate) p50: u32,
    pub(crate) p90: u32,
    pub(crate) p99: u32,
    pub(crate) p999: u32,
    pub(crate) most: u32,
}

impl Latency {
    pub(crate) fn of(mut micros: Vec<u32>) -> Self {
        micros.sort_unstable();
        let at = |share: f64| {
            let place = (micros.len() as f64 * share).ceil() as usize;
            micros.get(place.saturating_sub(1)).copied().unwrap_or(0)
        };
        Self {
            samples: micros.len() as u64,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            most: micros.last().copied().unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_samples() {
        let latency = Latency::of((1..=1_000).rev().collect());
        assert_eq!((latency.p50, latency.p90), (500, 900));
        assert_eq!((latency.p99, latency.p999, latency.most), (990, 999, 1_000));
        assert_eq!(Latency::of(Vec::new()), Latency::default());
    }
}
