//! The spool of reports, the probe of the disk, and the check of the books.

use rusqlite::{Connection, Row};

use super::changes::time;
use super::rows::{status_code, status_from};
use crate::store::{EventStatus, EventTotals, SpooledReport};

pub(super) fn spool(db: &Connection, payload: Vec<u8>) -> rusqlite::Result<u64> {
    db.prepare_cached("INSERT INTO report (payload) VALUES (?1)")?
        .execute([payload])?;
    Ok(db.last_insert_rowid().cast_unsigned())
}

pub(super) fn spooled(
    db: &Connection,
    after: u64,
    limit: u32,
) -> rusqlite::Result<Vec<SpooledReport>> {
    let read = |row: &Row<'_>| {
        Ok(SpooledReport {
            sequence: row.get::<_, i64>(0)?.cast_unsigned(),
            payload: row.get(1)?,
        })
    };
    db.prepare_cached(
        "SELECT sequence, payload FROM report WHERE sequence > ?1 ORDER BY sequence LIMIT ?2",
    )?
    .query_map((time(after), limit), read)?
    .collect()
}

pub(super) fn acknowledge(db: &Connection, up_to: u64) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM report WHERE sequence <= ?1")?
        .execute([time(up_to)])
        .map(drop)
}

pub(super) fn amend(db: &Connection, sequence: u64, payload: Vec<u8>) -> rusqlite::Result<bool> {
    let changed = db
        .prepare_cached("UPDATE report SET payload = ?2 WHERE sequence = ?1")?
        .execute((time(sequence), payload))?;
    Ok(changed == 1)
}

pub(super) fn spool_length(db: &Connection) -> rusqlite::Result<u64> {
    db.prepare_cached("SELECT count(*) FROM report")?
        .query_row([], |row| row.get::<_, i64>(0))
        .map(i64::cast_unsigned)
}

pub(super) fn probe(db: &Connection, now: u64) -> rusqlite::Result<()> {
    db.prepare_cached("INSERT OR REPLACE INTO fact VALUES ('probed_at', ?1)")?
        .execute([time(now)])
        .map(drop)
}

/// Walks the backlog, not the history.
pub(super) fn backlog(db: &Connection) -> rusqlite::Result<EventTotals> {
    let mut count = db.prepare_cached(
        "SELECT status, count(*) FROM pending JOIN event ON id = event_id GROUP BY status",
    )?;
    let mut totals = EventTotals::default();
    let mut rows = count.query([])?;
    while let Some(row) = rows.next()? {
        let slot = match status_from(row.get(0)?) {
            Some(EventStatus::Scheduled) => &mut totals.scheduled,
            Some(EventStatus::Queued) => &mut totals.queued,
            Some(EventStatus::Hold) => &mut totals.hold,
            // The books do not balance then, and `imbalance` says so.
            _ => continue,
        };
        *slot = row.get::<_, i64>(1)?.cast_unsigned();
    }
    Ok(totals)
}

/// Pending by its status, but not in the due index; or in the due index, but not pending.
/// One statement sees one moment. The covering index `event_by_connection` serves the first half.
pub(super) fn imbalance(db: &Connection) -> rusqlite::Result<u64> {
    let [scheduled, queued, hold] = [
        EventStatus::Scheduled,
        EventStatus::Queued,
        EventStatus::Hold,
    ]
    .map(status_code);
    db.prepare_cached(
        "SELECT (SELECT count(*) FROM event WHERE status IN (?1, ?2, ?3)
                 AND id NOT IN (SELECT event_id FROM pending))
              + (SELECT count(*) FROM pending WHERE event_id NOT IN
                 (SELECT id FROM event WHERE status IN (?1, ?2, ?3)))",
    )?
    .query_row([scheduled, queued, hold], |row| row.get::<_, i64>(0))
    .map(i64::cast_unsigned)
}
