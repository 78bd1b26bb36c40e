//! Connections as resources: they refer to a source and a destination of their team.

use hookplane_proto::id::Kind;

use super::resource::{Resource, Stamp, Switchable, not_found};
use super::{Call, ConnectionDraft, Connections, Flow, ServiceError};
use crate::domain::connection::{drain_fault, group_fault};
use crate::domain::{Connection, Millis, ResourceKind, Violation, etag};
use crate::store::{Change, StoreError};

impl Resource for Connection {
    type Draft = ConnectionDraft;

    const KIND: ResourceKind = ResourceKind::Connection;
    const PREFIX: Kind = Kind::Connection;

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
            "source_id": self.source_id,
            "destination_id": self.destination_id,
            "settings": self.spec,
            "disabled_at": self.disabled_at,
            "paused_at": self.paused_at,
            "drain": self.drain,
        })
    }

    async fn find(change: &Change, team_id: &str, id: &str) -> Result<Option<Self>, StoreError> {
        change.connection(team_id, id).await
    }

    async fn namesake(
        change: &Change,
        team_id: &str,
        draft: &ConnectionDraft,
    ) -> Result<Option<Self>, StoreError> {
        change
            .connection_named(team_id, &draft.source_id, &draft.spec.name)
            .await
    }

    async fn meant(
        change: &Change,
        team_id: &str,
        draft: &ConnectionDraft,
    ) -> Result<Option<Self>, ServiceError> {
        if draft.id.is_empty() {
            return Ok(Self::namesake(change, team_id, draft).await?);
        }
        let found = change.connection(team_id, &draft.id).await?;
        found.map(Some).ok_or_else(|| not_found::<Self>(&draft.id))
    }

    async fn admit(
        change: &Change,
        team_id: &str,
        draft: ConnectionDraft,
        stored: Option<&Self>,
        stamp: Stamp,
    ) -> Result<Self, ServiceError> {
        let mut faults = draft.spec.faults();
        if change.source(team_id, &draft.source_id).await?.is_none() {
            faults.push(missing("source_id", "source", &draft.source_id));
        } else if stored.is_some_and(|stored| stored.source_id != draft.source_id) {
            faults.push(Violation::new(
                "source_id",
                "a connection stays with its source; create another one",
            ));
        }
        if change
            .destination(team_id, &draft.destination_id)
            .await?
            .is_none()
        {
            faults.push(missing(
                "destination_id",
                "destination",
                &draft.destination_id,
            ));
        }
        let own = stored.map_or("", |stored| stored.id.as_str());
        let others = change
            .connection_bytes_of_source(&draft.source_id, own)
            .await?;
        let filters = filter_bytes(change, team_id, &draft, &mut faults).await?;
        let bytes = others
            .saturating_add(filters)
            .saturating_add(draft.spec.bytes());
        faults.extend(group_fault(bytes));
        if !faults.is_empty() {
            return Err(faults.into());
        }
        let before = stored.and_then(|stored| stored.disabled_at);
        let disabled_at = draft.state.disabled_at(before, stamp.now);
        let mut made = match stored {
            Some(stored) => Self {
                destination_id: draft.destination_id,
                spec: draft.spec,
                disabled_at,
                ..stored.clone()
            },
            None => Self {
                id: stamp.id,
                team_id: team_id.to_owned(),
                source_id: draft.source_id,
                destination_id: draft.destination_id,
                spec: draft.spec,
                disabled_at,
                paused_at: None,
                drain: None,
                created_at: stamp.now,
                updated_at: stamp.now,
                revision: stamp.revision,
            },
        };
        match draft.flow {
            Flow::Paused if made.disabled_at.is_none() => made.pause(stamp.now),
            Flow::Keep if made.disabled_at.is_none() => {}
            Flow::Keep | Flow::Delivering | Flow::Paused => made.resume(stamp.now, None),
        }
        Ok(made)
    }

    fn touch(&mut self, now: Millis, revision: u64) {
        self.updated_at = now;
        self.revision = revision;
    }

    async fn insert(&self, change: &Change) -> Result<(), StoreError> {
        change.insert_connection(self).await
    }

    async fn update(&self, change: &Change) -> Result<(), StoreError> {
        change.update_connection(self).await
    }

    async fn delete(&self, change: &Change, now: Millis) -> Result<(), StoreError> {
        change.delete_connection(self, now).await
    }

    async fn users(&self, _change: &Change) -> Result<u64, StoreError> {
        // Nothing refers to a connection; its events in the agents are cancelled there.
        Ok(0)
    }
}

impl Switchable for Connection {
    fn set_disabled_at(&mut self, at: Option<Millis>) {
        self.disabled_at = at;
        if let Some(now) = at {
            // What is held would otherwise wait for a branch that nobody looks at any more.
            self.resume(now, None);
        }
    }

    fn disabled_at(&self) -> Option<Millis> {
        self.disabled_at
    }
}

impl Connections {
    /// Holds the events of a connection. A disabled one makes none, so there is nothing to hold.
    pub async fn pause(&self, call: &Call, id: &str) -> Result<Connection, ServiceError> {
        self.alter(call, id, |connection, now| {
            if connection.disabled_at.is_some() {
                return Err(ServiceError::Disabled {
                    kind: ResourceKind::Connection,
                    id: connection.id.clone(),
                });
            }
            connection.pause(now);
            Ok(())
        })
        .await
    }

    /// Lets them go, at most so many per second and agent.
    pub async fn resume(
        &self,
        call: &Call,
        id: &str,
        rate: Option<u32>,
    ) -> Result<Connection, ServiceError> {
        if let Some(fault) = rate.and_then(drain_fault) {
            return Err(vec![fault].into());
        }
        self.alter(call, id, |connection, now| {
            connection.resume(now, rate);
            Ok(())
        })
        .await
    }
}

/// Bytes of the stored filters that the rules refer to; unknown ones are faults.
async fn filter_bytes(
    change: &Change,
    team_id: &str,
    draft: &ConnectionDraft,
    faults: &mut Vec<Violation>,
) -> Result<u64, StoreError> {
    let mut bytes = 0;
    for (place, id) in draft.spec.filter_ids() {
        match change.filter(team_id, id).await? {
            Some(filter) => bytes = filter.spec.bytes().saturating_add(bytes),
            None => faults.push(missing(&format!("rules[{place}].filter_id"), "filter", id)),
        }
    }
    Ok(bytes)
}

fn missing(field: &str, noun: &str, id: &str) -> Violation {
    if id.is_empty() {
        return Violation::new(field, format!("the id of a {noun} is needed"));
    }
    let shown: String = id.chars().take(64).collect();
    Violation::new(field, format!("there is no {noun} `{shown}`"))
}
