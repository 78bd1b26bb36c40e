//! How many refusals of one source are kept, so that a forger cannot fill the disk.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::config::Configuration;

/// Refusals kept per source and second, and at once.
const PER_SECOND: f64 = 50.0;

/// A token bucket per source of the configuration; those of removed sources go when a new
/// one comes, so the map stays as small as the configuration.
#[derive(Default)]
pub(super) struct RefusalQuota {
    buckets: Mutex<HashMap<String, Bucket>>,
}

struct Bucket {
    tokens: f64,
    filled_at: u64,
}

impl RefusalQuota {
    pub(super) fn allows(
        &self,
        source_id: &str,
        configuration: &Configuration,
        now_millis: u64,
    ) -> bool {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() > configuration.sources.len() {
            buckets.retain(|id, _| configuration.sources.contains_key(id));
        }
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
    use std::sync::Arc;
    use std::time::Duration;

    use hookplane_signature::{AuthSpec, Provider, Verifier};

    use super::*;
    use crate::config::{Branches, Source};

    fn configuration(ids: &[&str]) -> Configuration {
        let source = |id: &&str| Source {
            id: (*id).into(),
            team_id: "tm_1".into(),
            name: (*id).into(),
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
        };
        Configuration {
            sources: ids
                .iter()
                .map(|id| ((*id).to_owned(), Arc::new(source(id))))
                .collect(),
            ..Configuration::default()
        }
    }

    #[test]
    fn a_flood_is_cut_for_its_own_source_only_and_recovers() {
        let (quota, known) = (RefusalQuota::default(), configuration(&["src_a", "src_b"]));
        let kept = (0..1_000)
            .filter(|_| quota.allows("src_a", &known, 5))
            .count();
        assert_eq!(kept, 50);
        assert!(
            quota.allows("src_b", &known, 5),
            "another source suffers from the flood"
        );
        assert!(
            quota.allows("src_a", &known, 1_005),
            "the quota does not recover"
        );
    }

    #[test]
    fn sources_that_come_and_go_leave_nothing_behind() {
        let quota = RefusalQuota::default();
        for number in 0..100 {
            let id = format!("src_{number}");
            quota.allows(&id, &configuration(&[&id]), 5);
        }
        assert!(quota.buckets.lock().unwrap().len() <= 2);
    }
}
