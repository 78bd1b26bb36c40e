//! Sources as resources.

use hookplane_proto::id::Kind;

use super::resource::{Resource, Stamp, Switchable};
use super::{ServiceError, SourceDraft};
use crate::domain::{Millis, ResourceKind, Source, etag};
use crate::store::{Change, StoreError};

impl Resource for Source {
    type Draft = SourceDraft;

    const KIND: ResourceKind = ResourceKind::Source;
    const PREFIX: Kind = Kind::Source;

    fn id(&self) -> &str {
        &self.id
    }

    fn name(&self) -> &str {
        &self.spec.name
    }

    fn etag(&self) -> String {
        etag(&self.id, self.revision, self.updated_at)
    }

    fn shown(&self) -> serde_json::Value {
        serde_json::json!({
            "settings": self.spec,
            "auth": self.auth.redacted(),
            "disabled_at": self.disabled_at,
        })
    }

    fn has_secrets_of(&self, other: &Self) -> bool {
        self.auth.secrets() == other.auth.secrets()
    }

    async fn find(change: &Change, team_id: &str, id: &str) -> Result<Option<Self>, StoreError> {
        change.source(team_id, id).await
    }

    async fn namesake(
        change: &Change,
        team_id: &str,
        draft: &SourceDraft,
    ) -> Result<Option<Self>, StoreError> {
        change.source_named(team_id, &draft.spec.name).await
    }

    async fn admit(
        _change: &Change,
        team_id: &str,
        draft: SourceDraft,
        stored: Option<&Self>,
        stamp: Stamp,
    ) -> Result<Self, ServiceError> {
        let SourceDraft { spec, auth, state } = draft;
        let known = stored.map(|stored| &stored.auth);
        let auth = auth.restore(known)?.settled(known)?;
        let faults = spec.faults(&auth);
        if !faults.is_empty() {
            return Err(faults.into());
        }
        let disabled = state.disabled_at(stored.and_then(|stored| stored.disabled_at), stamp.now);
        Ok(match stored {
            Some(stored) => Self {
                spec,
                auth,
                disabled_at: disabled,
                ..stored.clone()
            },
            None => Self {
                id: stamp.id,
                team_id: team_id.to_owned(),
                spec,
                auth,
                disabled_at: disabled,
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
        change.insert_source(self).await
    }

    async fn update(&self, change: &Change) -> Result<(), StoreError> {
        change.update_source(self).await
    }

    async fn delete(&self, change: &Change, now: Millis) -> Result<(), StoreError> {
        change.delete_source(self, now).await
    }

    async fn users(&self, change: &Change) -> Result<u64, StoreError> {
        change.connections_of_source(&self.id).await
    }
}

impl Switchable for Source {
    fn set_disabled_at(&mut self, at: Option<Millis>) {
        self.disabled_at = at;
    }

    fn disabled_at(&self) -> Option<Millis> {
        self.disabled_at
    }
}
