//! How many there are of each kind, by team and minute: counts without reading rows.
//!
//! Invariant: a sum is what counting the rows of its minute would give, because it changes in the
//! transaction that changes the rows, by what the rows were and are.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, params};

use super::compact::pack;
use super::{failed, rows, signed};
use crate::ids::Kind;
use crate::store::journal::entry::codes;
use crate::store::{EventRecord, StoreError};

pub(in super::super) const MINUTE: u64 = 60_000;

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

    /// An event that is kept from now on, or was kept before in another state.
    pub(super) fn event(&mut self, event: &EventRecord, before: Option<u64>) {
        let now = codes::status_code(event.status);
        if before == Some(now) {
            return;
        }
        let (team, at) = (&event.team_id, event.created_at);
        if let Some(before) = before {
            self.add(team, at, before, -1);
        }
        self.add(team, at, now, 1);
    }

    /// Adds what was noted elsewhere.
    pub(super) fn take(&mut self, other: Self) {
        for (team, minute, what, by) in other.changes() {
            self.add(team, minute, what, by);
        }
    }

    /// Team, minute, what and by how much.
    fn changes(&self) -> impl Iterator<Item = (&str, u64, u64, i64)> {
        self.0.iter().flat_map(|(team, sums)| {
            let changed = sums.iter().filter(|(_, by)| **by != 0);
            changed.map(|((minute, what), by)| (team.as_str(), *minute, *what, *by))
        })
    }
}

/// In the transaction that changes the rows.
pub(super) fn put(db: &Connection, totals: &Totals) -> rusqlite::Result<()> {
    let mut put = db.prepare_cached(
        "INSERT INTO total VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO UPDATE SET count = count + excluded.count",
    )?;
    for (team, minute, what, by) in totals.changes() {
        put.execute(params![team, signed(minute), signed(what), by])?;
    }
    Ok(())
}

/// Notes that what belongs to a request is going, before it goes.
pub(super) fn without(
    db: &Connection,
    request_id: &str,
    totals: &mut Totals,
) -> rusqlite::Result<()> {
    let parts = [
        format!(
            "SELECT (SELECT text FROM name WHERE number = team), ingested_at / {MINUTE}, iif(rejected, {REJECTED}, {ACCEPTED}), 1
             FROM request WHERE id = ?1"
        ),
        format!(
            "SELECT (SELECT text FROM name WHERE number = team), created_at / {MINUTE}, status, count(*) FROM event
             WHERE request_id = ?1 GROUP BY 1, 2, 3"
        ),
        format!(
            "SELECT team_id, received_at / {MINUTE}, {REPEAT}, count(*) FROM repeat
             WHERE request_id = ?1 GROUP BY 1, 2"
        ),
    ];
    for sql in parts {
        let mut find = db.prepare_cached(&sql)?;
        let mut found = find.query([pack(Kind::Request, request_id)])?;
        while let Some(row) = found.next()? {
            let team: String = row.get(0)?;
            let at = rows::unsigned(row, 1)? * MINUTE;
            totals.add(&team, at, rows::unsigned(row, 2)?, -row.get::<_, i64>(3)?);
        }
    }
    Ok(())
}

/// Forgets sums that have come to nothing.
pub(super) fn forget_empty(db: &Connection) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM total WHERE count = 0")?
        .execute([])?;
    Ok(())
}

/// What there is of each kind in these minutes, the last one excluded.
pub(super) fn sums(
    db: &Connection,
    team_id: &str,
    from: u64,
    to: u64,
) -> Result<Vec<(u64, u64)>, StoreError> {
    db.prepare_cached(
        "SELECT what, max(sum(count), 0) FROM total WHERE team_id = ?1 AND minute >= ?2 AND minute < ?3
         GROUP BY what",
    )
    .and_then(|mut find| {
        let both = |row: &rusqlite::Row<'_>| Ok((rows::unsigned(row, 0)?, rows::unsigned(row, 1)?));
        find.query_map(params![team_id, signed(from), signed(to)], both)?
            .collect()
    })
    .map_err(failed)
}

/// Sums that are not what counting the rows gives, over all there is.
pub(in super::super) fn wrong(db: &Connection) -> Result<u64, StoreError> {
    let sql = format!(
        "SELECT count(*) FROM (
           SELECT team_id, minute, what, sum(count) AS off FROM (
             SELECT team_id, minute / {MINUTE} AS minute, what, count FROM total
             UNION ALL SELECT text, created_at / {MINUTE}, status, -1
               FROM event JOIN name ON number = team
             UNION ALL SELECT text, ingested_at / {MINUTE},
               iif(rejected, {REJECTED}, {ACCEPTED}), -1 FROM request JOIN name ON number = team
             UNION ALL SELECT team_id, received_at / {MINUTE}, {REPEAT}, -1 FROM repeat
           ) GROUP BY team_id, minute, what HAVING off <> 0)"
    );
    db.query_row(&sql, [], |row| rows::unsigned(row, 0))
        .map_err(failed)
}
