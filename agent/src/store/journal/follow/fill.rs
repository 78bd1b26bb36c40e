//! Fills horizons that run low from the index and from what is on its way there.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::horizon::{Due, Lane, Low, Waiting, due_of};
use super::super::index::read;
use super::super::table::Table;
use super::Follower;
use crate::store::{EventRecord, StoreError};

/// Pages looked at for a lane whose next events are all on their way to another state.
const PAGES: usize = 8;

impl Follower {
    /// One round over all that are low.
    pub(super) fn fill(&mut self) {
        let low = self.parts.pending().horizons.low();
        for mut lane in low {
            self.fill_one(&mut lane);
        }
        // Also when there was nothing to do: who waits for this round looks again.
        self.parts.progress.has_filled();
    }

    fn fill_one(&self, low: &mut Low) {
        for _ in 0..PAGES {
            let (found, boundary) = match self.beyond(&low.lane, &low.boundary, low.room) {
                Ok(found) => found,
                Err(error) => {
                    tracing::error!(%error, "the index cannot say what is due next");
                    self.parts.end_if_broken(&error);
                    return;
                }
            };
            let again = boundary.clone().filter(|_| found.is_empty());
            self.parts.pending().horizons.fill(low, found, boundary);
            match again {
                Some(boundary) => low.boundary = boundary,
                None => return,
            }
        }
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
        for (due, row) in rows {
            last = Some(due.clone());
            let event = match row {
                Ok(event) => event,
                Err(error) => {
                    tracing::error!(%error, "an event cannot be sent");
                    continue;
                }
            };
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
