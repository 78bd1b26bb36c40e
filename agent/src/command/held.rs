//! Which pending events are held: those of paused connections.
//!
//! Not a status that is stored: a pause writes nothing for the events that wait, and neither does
//! its end. Questions name the paused connections, and answers show it by [`Held::mark`].

use std::collections::HashSet;

use crate::config::CurrentConfiguration;
use crate::store::{EventRecord, EventStatus};

/// The paused connections of a team.
pub(super) struct Held(HashSet<String>);

impl Held {
    pub(super) fn of(config: &CurrentConfiguration, team_id: &str) -> Self {
        Self(config.load().paused(Some(team_id)))
    }

    pub(super) fn connections(&self) -> HashSet<String> {
        self.0.clone()
    }

    pub(super) fn holds(&self, event: &EventRecord) -> bool {
        let pending = matches!(event.status, EventStatus::Queued | EventStatus::Scheduled);
        pending && self.0.contains(&event.connection_id)
    }

    /// Shows the event as held if it is.
    pub(super) fn mark(&self, event: &mut EventRecord) {
        if self.holds(event) {
            event.status = EventStatus::Hold;
        }
    }

    pub(super) fn marked(&self, mut event: EventRecord) -> EventRecord {
        self.mark(&mut event);
        event
    }
}
