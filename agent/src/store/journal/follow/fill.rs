//! Fills horizons that run low from the index and from what is on its way there.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::horizon::{Due, Lane, Waiting, due_of};
use super::super::index::read;
use super::super::table::Table;
use super::Follower;
use crate::store::{EventRecord, StoreError};

impl Follower {
    /// One round over all that are low.
    pub(super) fn fill(&mut self) {
        let low = self.parts.pending().horizons.low();
        if low.is_empty() {
            return;
        }
        for (lane, boundary, room) in low {
            match self.beyond(&lane, &boundary, room) {
                Ok((found, boundary)) => {
                    let mut pending = self.parts.pending();
                    pending.horizons.fill(&lane, found, boundary);
                }
                Err(error) => {
                    tracing::error!(%error, "the index cannot say what is due next");
                }
            }
        }
        self.parts
            .progress
            .filled
            .send_modify(|times| *times = times.wrapping_add(1));
    }

    /// The next pending events from a boundary on, and the boundary behind them. The tables know
    /// better than the index, and the newer one better than the older.
    fn beyond(
        &self,
        lane: &Lane,
        boundary: &Due,
        room: usize,
    ) -> Result<(Vec<Waiting>, Option<Due>), StoreError> {
        let tables: Vec<&Table> = std::iter::once(&self.table)
            .chain(self.taken.as_deref())
            .collect();
        let rows = read::pending_from(&self.reader, lane, boundary, room)?;
        let full = rows.len() == room;
        let mut last = None;
        let mut found: BTreeMap<Due, Arc<EventRecord>> = BTreeMap::new();
        for row in rows {
            let event = match row {
                Ok(event) => event,
                Err(error) => {
                    tracing::error!(%error, "an event cannot be sent");
                    continue;
                }
            };
            let due = due_of(&event);
            last = Some(due.clone());
            // One that is stopped already waits for its slice only.
            if self.stops.has_stopped(&event) {
                continue;
            }
            if !tables
                .iter()
                .any(|table| table.events.contains_key(&event.id))
            {
                found.insert(due, event);
            }
        }
        // Past the last row there may be rows that are due before one in the tables.
        let end = if full { last } else { None };
        for (age, table) in tables.iter().enumerate() {
            let newer = &tables[..age];
            let pending = table
                .pending_from(lane, boundary)
                .filter(|event| {
                    !newer
                        .iter()
                        .any(|table| table.events.contains_key(&event.id))
                })
                .map(|event| (due_of(event), event))
                .filter(|(due, _)| end.as_ref().is_none_or(|end| due <= end));
            for (due, event) in pending {
                found.insert(due, Arc::clone(event));
            }
        }
        // More than asked for when much is on its way: the first ones, and the boundary there.
        let mut behind = end.map(|(at, id)| (at, id + "\0"));
        if found.len() > room
            && let Some(first_out) = found.keys().nth(room).cloned()
        {
            found.split_off(&first_out);
            behind = Some(first_out);
        }
        let waiting = found
            .into_values()
            .map(|event| Waiting { event, place: None });
        Ok((waiting.collect(), behind))
    }
}
