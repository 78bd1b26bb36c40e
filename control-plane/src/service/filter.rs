//! Filters as resources: stored conditions that rules of connections refer to.

use hookplane_proto::id::Kind;

use super::resource::{Resource, Stamp};
use super::{FilterDraft, ServiceError};
use crate::domain::connection::group_fault;
use crate::domain::{Filter, Millis, ResourceKind, Violation, etag};
use crate::store::{Change, StoreError};

impl Resource for Filter {
    type Draft = FilterDraft;

    const KIND: ResourceKind = ResourceKind::Filter;
    const PREFIX: Kind = Kind::Filter;

    fn id(&self) -> &str {
        &self.id
    }

    fn name(&self) -> &str {
        &self.spec.name
    }

    fn shown(&self) -> serde_json::Value {
        serde_json::json!({ "settings": self.spec })
    }

    fn etag(&self) -> String {
        etag(&self.id, self.revision, self.updated_at)
    }

    async fn find(change: &Change, team_id: &str, id: &str) -> Result<Option<Self>, StoreError> {
        change.filter(team_id, id).await
    }

    async fn namesake(
        change: &Change,
        team_id: &str,
        draft: &FilterDraft,
    ) -> Result<Option<Self>, StoreError> {
        change.filter_named(team_id, &draft.spec.name).await
    }

    async fn admit(
        change: &Change,
        team_id: &str,
        draft: FilterDraft,
        stored: Option<&Self>,
        stamp: Stamp,
    ) -> Result<Self, ServiceError> {
        let mut faults = draft.spec.faults();
        if let Some(stored) = stored {
            // The source that has the most of everything has to bear the growth.
            let growth = draft.spec.bytes().saturating_sub(stored.spec.bytes());
            if growth > 0 {
                let largest = change.largest_group_with(&stored.id, growth).await?;
                let fault = group_fault(largest);
                faults.extend(fault.map(|fault| Violation::new("conditions", fault.message)));
            }
        }
        if !faults.is_empty() {
            return Err(faults.into());
        }
        Ok(match stored {
            Some(stored) => Self {
                spec: draft.spec,
                ..stored.clone()
            },
            None => Self {
                id: stamp.id,
                team_id: team_id.to_owned(),
                spec: draft.spec,
                created_at: stamp.now,
                updated_at: stamp.now,
                revision: stamp.revision,
            },
        })
    }

    fn touch(&mut self, now: Millis, revision: u64) {
        self.updated_at = now;
        self.revision = revision;
    }

    async fn insert(&self, change: &Change) -> Result<(), StoreError> {
        change.insert_filter(self).await
    }

    async fn update(&self, change: &Change) -> Result<(), StoreError> {
        change.update_filter(self).await
    }

    async fn delete(&self, change: &Change, now: Millis) -> Result<(), StoreError> {
        change.delete_filter(self, now).await
    }

    async fn users(&self, change: &Change) -> Result<u64, StoreError> {
        change.connections_of_filter(&self.id).await
    }
}
