//! What one agent shall come to hold: its pool's view, without what it cannot use.

use std::sync::Arc;

use crate::domain::RefusedResource;
use crate::fleet::held::Set;
use crate::fleet::view::PoolView;

/// The machine-readable reason, the same that agents give.
const UNSUPPORTED: &str = "unsupported";

/// Cheap to clone.
#[derive(Clone)]
pub(super) struct Aim {
    pub(super) view: Arc<PoolView>,
    /// The view's set, but for what the agent cannot use: of that it keeps what it has.
    pub(super) set: Arc<Set>,
    /// What is kept from it, and why.
    pub(super) unsupported: Vec<RefusedResource>,
}

impl Aim {
    /// For an agent with these capabilities that holds `held`.
    pub(super) fn new(
        view: Arc<PoolView>,
        capabilities: &[String],
        version: &str,
        held: Option<&Set>,
    ) -> Self {
        let lacking: Vec<_> = view
            .demanding
            .iter()
            .filter_map(|key| Some((key, view.lacking(key, capabilities)?)))
            .collect();
        if lacking.is_empty() {
            let set = Arc::clone(&view.set);
            let unsupported = Vec::new();
            return Self {
                view,
                set,
                unsupported,
            };
        }
        let mut versions = view.set.versions.clone();
        let mut unsupported = Vec::new();
        for (key, need) in lacking {
            let wanted = versions.remove(key);
            let has = held.and_then(|held| held.versions.get(key));
            versions.extend(has.map(|has| (key.clone(), *has)));
            unsupported.push(RefusedResource {
                kind: key.kind.word().to_owned(),
                id: key.id.to_string(),
                version: wanted.unwrap_or_default(),
                reason: UNSUPPORTED.to_owned(),
                message: format!("version {version} does not know `{need}`; upgrade the agent"),
                unsent: true,
            });
        }
        let set = Set::new(versions);
        Self {
            view,
            set,
            unsupported,
        }
    }

    /// Whether it is what most agents of the pool shall hold.
    pub(super) fn is_shared(&self) -> bool {
        Arc::ptr_eq(&self.set, &self.view.set)
    }
}
