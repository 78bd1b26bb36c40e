//! Held events that a person let through, looked up one by one: their lanes are not looked at.

use std::sync::Arc;

use super::{Candidate, Deliverer, Known};
use crate::store::{DueEvent, EventRecord, EventStatus, StoreError};

impl Deliverer {
    /// Those that still wait for their try.
    pub(super) async fn released<'a>(
        &self,
        known: &'a Known,
    ) -> Result<Vec<Candidate<'a>>, StoreError> {
        let released = &self.parts.gates.released;
        let mut found = Vec::new();
        for (id, whose) in released.all() {
            let connection = known.connections.get(&whose.connection_id);
            let destinations = &known.configuration.destinations;
            let to = destinations.get(&whose.destination_id);
            let Some((connection, to)) = connection.zip(to.filter(|to| to.enabled)) else {
                continue;
            };
            let lane = (whose.destination_id, whose.connection_id);
            if self.parts.entries.of(&lane).ids().contains(&id) {
                continue;
            }
            let event = self.parts.store.event(&whose.team_id, &id).await?;
            let pending = |event: &EventRecord| {
                matches!(event.status, EventStatus::Queued | EventStatus::Scheduled)
            };
            // Resumed meanwhile, it goes with the others.
            let Some(event) = event.filter(|event| connection.paused && pending(event)) else {
                released.forget(&id);
                continue;
            };
            let request = self
                .parts
                .store
                .request(&whose.team_id, &event.request_id)
                .await?;
            let Some((request, _)) = request else {
                released.forget(&id);
                continue;
            };
            found.push(Candidate {
                due: DueEvent {
                    event: Arc::new(event),
                    request: Arc::new(request),
                },
                connection: Arc::clone(connection),
                to,
            });
        }
        Ok(found)
    }
}
