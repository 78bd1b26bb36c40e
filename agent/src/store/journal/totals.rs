//! How many there are of each kind, by team and minute: counts without reading rows.
//!
//! The fold notes changes and the index keeps the sums, in the transaction that changes the rows.
//! Invariant: a sum in the index is what counting the rows of its minute would give.

use std::collections::{BTreeMap, HashMap};

use super::entry::codes;
use crate::store::{EventRecord, EventStatus, RequestRecord};

pub(super) const MINUTE: u64 = 60_000;

/// What is counted. Events have the codes of their status.
pub(super) const ACCEPTED: u64 = 101;
pub(super) const REJECTED: u64 = 102;
/// Arrivals kept one by one.
pub(super) const REPEAT: u64 = 103;

/// Changes to the sums.
#[derive(Debug, Default)]
pub(super) struct Totals(HashMap<String, BTreeMap<(u64, u64), i64>>);

impl Totals {
    pub(super) fn add(&mut self, team_id: &str, at: u64, what: u64, by: i64) {
        let minute = at / MINUTE * MINUTE;
        if !self.0.contains_key(team_id) {
            self.0.insert(team_id.to_owned(), BTreeMap::new());
        }
        if let Some(of_team) = self.0.get_mut(team_id) {
            *of_team.entry((minute, what)).or_default() += by;
        }
    }

    pub(super) fn enter(&mut self, event: &EventRecord) {
        let what = codes::status_code(event.status);
        self.add(&event.team_id, event.created_at, what, 1);
    }

    pub(super) fn change(&mut self, event: &EventRecord, to: EventStatus) {
        let (team, at) = (&event.team_id, event.created_at);
        self.add(team, at, codes::status_code(event.status), -1);
        self.add(team, at, codes::status_code(to), 1);
    }

    pub(super) fn request(&mut self, request: &RequestRecord) {
        let rejected = request.rejection.is_some();
        let what = if rejected { REJECTED } else { ACCEPTED };
        self.add(&request.team_id, request.ingested_at, what, 1);
    }

    /// Adds what was noted elsewhere.
    pub(super) fn take(&mut self, other: Self) {
        for (team, minute, what, by) in other.changes() {
            self.add(team, minute, what, by);
        }
    }

    /// Team, minute, what and by how much.
    pub(super) fn changes(&self) -> impl Iterator<Item = (&str, u64, u64, i64)> {
        self.0.iter().flat_map(|(team, sums)| {
            let changed = sums.iter().filter(|(_, by)| **by != 0);
            changed.map(|((minute, what), by)| (team.as_str(), *minute, *what, *by))
        })
    }
}
