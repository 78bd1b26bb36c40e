//! How many refusals of one source are kept, so that a forger cannot fill the disk.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Refusals kept per source and second, and at once.
const PER_SECOND: f64 = 50.0;

/// A token bucket per known source; sources come from configuration, so the map is bounded.
#[derive(Default)]
pub(super) struct RefusalQuota {
    buckets: Mutex<HashMap<String, Bucket>>,
}

struct Bucket {
    tokens: f64,
    filled_at: u64,
}

impl RefusalQuota {
    pub(super) fn allows(&self, source_id: &str, now_millis: u64) -> bool {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets.entry(source_id.to_owned()).or_insert(Bucket {
            tokens: PER_SECOND,
            filled_at: now_millis,
        });
        let passed = now_millis.saturating_sub(bucket.filled_at) as f64 / 1_000.0;
        bucket.tokens = (bucket.tokens + passed * PER_SECOND).min(PER_SECOND);
        bucket.filled_at = now_millis;
        if bucket.tokens < 1.0 {
            return false;
        }
        bucket.tokens -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_for_its_own_source_only_and_recovers() {
        let quota = RefusalQuota::default();
        let kept = (0..1_000).filter(|_| quota.allows("src_a", 5)).count();
        assert_eq!(kept, 50);
        assert!(
            quota.allows("src_b", 5),
            "another source suffers from the flood"
        );
        assert!(quota.allows("src_a", 1_005), "the quota does not recover");
    }
}
