//! Destinations as resources.

use hookplane_proto::id::Kind;

use super::resource::{Resource, Stamp, Switchable};
use super::{DestinationDraft, ServiceError};
use crate::domain::{Destination, DestinationAuth, Millis, ResourceKind, Violation, etag};
use crate::store::{Change, StoreError};

impl Resource for Destination {
    type Draft = DestinationDraft;

    const KIND: ResourceKind = ResourceKind::Destination;
    const PREFIX: Kind = Kind::Destination;

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
        self.auth == other.auth
    }

    async fn find(change: &Change, team_id: &str, id: &str) -> Result<Option<Self>, StoreError> {
        change.destination(team_id, id).await
    }

    async fn namesake(
        change: &Change,
        team_id: &str,
        draft: &DestinationDraft,
    ) -> Result<Option<Self>, StoreError> {
        change.destination_named(team_id, &draft.spec.name).await
    }

    async fn admit(
        _change: &Change,
        team_id: &str,
        draft: DestinationDraft,
        stored: Option<&Self>,
        stamp: Stamp,
    ) -> Result<Self, ServiceError> {
        let DestinationDraft { spec, auth, state } = draft;
        let auth = auth.restore(stored.map(|stored| &stored.auth))?;
        let mut faults = spec.faults(&auth);
        // One that ran out while it was in use must not stand in the way of other changes.
        if stored.is_none_or(|stored| stored.auth != auth)
            && let DestinationAuth::ClientCertificate(pair) = &auth
            && pair.expires_at().is_some_and(|end| end <= stamp.now)
        {
            let text = "this certificate has ended already; give one that is valid";
            faults.push(Violation::new("config.auth.certificate", text));
        }
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
        change.insert_destination(self).await
    }

    async fn update(&self, change: &Change) -> Result<(), StoreError> {
        change.update_destination(self).await
    }

    async fn delete(&self, change: &Change, now: Millis) -> Result<(), StoreError> {
        change.delete_destination(self, now).await
    }

    async fn users(&self, change: &Change) -> Result<u64, StoreError> {
        change.connections_of_destination(&self.id).await
    }
}

impl Switchable for Destination {
    fn set_disabled_at(&mut self, at: Option<Millis>) {
        self.disabled_at = at;
    }

    fn disabled_at(&self) -> Option<Millis> {
        self.disabled_at
    }
}
