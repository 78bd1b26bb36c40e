//! The check of the books: events that are pending by status and not by due time, or the other way
//! round, and the running count of what is pending.
//!
//! Every event is looked at, in slices with the file let go in between, because a long question
//! keeps the log from being folded into the file.

use rusqlite::types::Value;
use rusqlite::{Connection, params};

use super::{failed, rows, signed};
use crate::store::journal::entry::codes;
use crate::store::{EventStatus, StoreError};

/// Events in one slice.
const SLICE: u32 = 10_000;
/// Slices of one look.
const SLICES: usize = 20;

/// Where the check is on its way through all events.
#[derive(Debug, Default)]
pub(in super::super) struct Books {
    /// Id of the last event that was looked at, as the index has it; nothing at the beginning.
    after: Option<Value>,
    /// Strays of this round so far, and of the last one.
    found: u64,
    before: u64,
}

impl Books {
    /// Looks at one slice of events. True when that was the last one of a round.
    pub(in super::super) fn look(&mut self, db: &Connection) -> Result<bool, StoreError> {
        let (strays, last) = strays(db, self.after.as_ref())?;
        self.found += strays;
        let Some(last) = last else {
            self.before = std::mem::take(&mut self.found);
            self.after = None;
            return Ok(true);
        };
        self.after = Some(last);
        Ok(false)
    }

    /// The next so many events. Each call goes on where the last one ended.
    pub(in super::super) fn look_on(&mut self, db: &Connection) -> Result<(), StoreError> {
        for _ in 0..SLICES {
            if self.look(db)? {
                break;
            }
        }
        Ok(())
    }

    pub(in super::super) fn strays(&self) -> u64 {
        self.before.max(self.found)
    }
}

/// All of it at once.
pub(in super::super) fn imbalance(db: &Connection) -> Result<u64, StoreError> {
    let mut books = Books::default();
    while !books.look(db)? {}
    Ok(books.strays() + off(db)?)
}

/// Events after one that stand differently in the two ways of being pending, and the last that
/// was looked at; `None` at the end.
fn strays(db: &Connection, after: Option<&Value>) -> Result<(u64, Option<Value>), StoreError> {
    let [scheduled, queued, hold] = [
        EventStatus::Scheduled,
        EventStatus::Queued,
        EventStatus::Hold,
    ]
    .map(|status| signed(codes::status_code(status)));
    let look = || {
        let mut find = db.prepare_cached(
            "SELECT id, (due_at IS NULL) = (status IN (?1, ?2, ?3)) FROM event
             WHERE id > ?4 ORDER BY id LIMIT ?5",
        )?;
        // Every text is before every id.
        let first = Value::Text(String::new());
        let after = after.unwrap_or(&first);
        let mut found = find.query(params![scheduled, queued, hold, after, SLICE])?;
        let (mut strays, mut seen, mut last) = (0, 0, None);
        while let Some(row) = found.next()? {
            strays += u64::from(row.get::<_, bool>(1)?);
            seen += 1;
            if seen == SLICE {
                last = Some(row.get(0)?);
            }
        }
        Ok((strays, last))
    };
    look().map_err(failed::<rusqlite::Error>)
}

/// How far the running count of what is pending is off. Counts entries of the small index on it.
pub(in super::super) fn off(db: &Connection) -> Result<u64, StoreError> {
    let count = || {
        // One transaction, so that both belong to one moment.
        let moment = db.unchecked_transaction()?;
        let found = moment
            .prepare_cached("SELECT count(*) FROM event WHERE due_at IS NOT NULL")?
            .query_row([], |row| rows::unsigned(row, 0))?;
        let told: u64 = moment
            .prepare_cached(
                "SELECT coalesce(sum(value), 0) FROM fact
                 WHERE name IN ('scheduled', 'queued', 'hold')",
            )?
            .query_row([], |row| rows::unsigned(row, 0))?;
        Ok(found.abs_diff(told))
    };
    count().map_err(failed::<rusqlite::Error>)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stray_is_found_wherever_it_is_and_until_it_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let (db, _) = super::super::open(&dir.path().join("index.db")).unwrap();
        let queued = signed(codes::status_code(EventStatus::Queued));
        let insert = format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 25000)
             INSERT INTO event (id, team, request_id, connection, source,
                 destination, status, attempts, created_at, due_at)
             SELECT printf('evt_%06d', i), 1, 'r', 2, 3, 4, {queued}, 0, 1, 1 FROM n"
        );
        db.execute_batch(&insert).unwrap();
        let fact = "INSERT OR REPLACE INTO fact VALUES ('queued', 25000)";
        db.execute_batch(fact).unwrap();
        let mut books = Books::default();
        books.look_on(&db).unwrap();
        assert_eq!((books.strays(), off(&db).unwrap()), (0, 0));

        db.execute_batch("UPDATE event SET due_at = NULL WHERE id = 'evt_024000'")
            .unwrap();
        assert_eq!(off(&db).unwrap(), 1, "the count is not checked");
        let slices = (1..=3).map(|_| books.look(&db).unwrap());
        assert_eq!(slices.collect::<Vec<_>>(), [false, false, true]);
        assert_eq!(books.strays(), 1);
        assert_eq!(imbalance(&db).unwrap(), 2);
        db.execute_batch("UPDATE event SET due_at = 1 WHERE id = 'evt_024000'")
            .unwrap();
        books.look_on(&db).unwrap();
        assert_eq!(books.strays(), 0);
    }
}
