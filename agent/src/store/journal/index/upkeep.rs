//! What retention asks of the index, and the check of the books.

use hookplane_journal::Position;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::totals::{MINUTE, Totals};
use super::{failed, rows, signed, totals, write};
use crate::ids::{IdMint, Kind};
use crate::store::EventStatus;
use crate::store::StoreError;
use crate::store::journal::entry::{KeyEntry, codes};
use crate::store::journal::table::{Backlog, Facts, Kept};

/// Requests that nothing pending belongs to, oldest first: those below an id, or in a segment.
const FREE: &str = "NOT EXISTS (SELECT 1 FROM event
    WHERE event.request_id = request.id AND event.due_at IS NOT NULL)";

/// Ids of requests received before a time, without anything pending.
pub(in super::super) fn old_requests(
    db: &Connection,
    before: u64,
    limit: u32,
) -> Result<Vec<String>, StoreError> {
    let newest = IdMint::lower_bound(Kind::Request, before);
    let sql = format!("SELECT id FROM request WHERE id < ?1 AND {FREE} ORDER BY id LIMIT ?2");
    db.prepare_cached(&sql)
        .and_then(|mut find| {
            find.query_map(params![newest, limit], |row| row.get(0))?
                .collect()
        })
        .map_err(failed)
}

/// Deletes requests, if still nothing pending belongs to them. Gives how many went and their
/// bytes; `facts` are what holds without them.
pub(in super::super) fn delete(
    db: &mut Connection,
    ids: &[String],
    facts: &mut Facts,
) -> rusqlite::Result<u64> {
    let transaction = db.transaction()?;
    let mut gone = 0;
    let mut without = *facts;
    let mut sums = Totals::default();
    {
        let sql = format!("DELETE FROM request WHERE id = ?1 AND {FREE} RETURNING bytes, rejected");
        let mut delete = transaction.prepare_cached(&sql)?;
        for id in ids {
            let mut own = Totals::default();
            totals::without(&transaction, id, &mut own)?;
            let row = delete.query_row([id], |row| {
                Ok((rows::unsigned(row, 0)?, row.get::<_, bool>(1)?))
            });
            let Some((bytes, rejected)) = row.optional()? else {
                continue;
            };
            gone += 1;
            sums.take(own);
            without.kept.subtract(Kept {
                bytes,
                rejected: if rejected { bytes } else { 0 },
            });
            for table in ["attempt", "event", "repeat"] {
                transaction
                    .prepare_cached(&format!("DELETE FROM {table} WHERE request_id = ?1"))?
                    .execute([id])?;
            }
        }
    }
    totals::put(&transaction, &sums)?;
    write::put_facts(&transaction, &without, None)?;
    transaction.commit()?;
    *facts = without;
    Ok(gone)
}

/// Forgets arrivals before a time, also those of requests that are gone.
pub(in super::super) fn forget_repeats(db: &Connection, before: u64) -> rusqlite::Result<()> {
    let before = before / MINUTE * MINUTE;
    db.prepare_cached("DELETE FROM repeat WHERE received_at < ?1")?
        .execute([signed(before)])?;
    totals::forget_repeats(db, before)?;
    db.prepare_cached("DELETE FROM counted WHERE minute < ?1")?
        .execute([signed(before)])?;
    Ok(())
}

/// The oldest place in the journal that a request or a known message needs.
pub(in super::super) fn oldest_needed(db: &Connection) -> Result<Option<Position>, StoreError> {
    let least = |sql: &str| {
        db.prepare_cached(sql)
            .and_then(|mut find| find.query_row([], |row| rows::maybe(row, 0)))
            .map_err(failed)
    };
    let request = least("SELECT min(position) FROM request")?;
    let key = least("SELECT min(position) FROM dedupe")?;
    let oldest = request.into_iter().chain(key).min();
    Ok(oldest.map(Position::from_u64))
}

/// Requests whose head stands below a position, oldest first.
pub(in super::super) fn requests_below(
    db: &Connection,
    below: Position,
    limit: u32,
) -> Result<Vec<RequestBelow>, StoreError> {
    let sql = format!(
        "SELECT id, ingested_at, {FREE} FROM request WHERE position < ?1 ORDER BY position LIMIT ?2"
    );
    db.prepare_cached(&sql)
        .and_then(|mut find| {
            find.query_map(params![signed(below.to_u64()), limit], |row| {
                Ok(RequestBelow {
                    id: row.get(0)?,
                    ingested_at: rows::unsigned(row, 1)?,
                    free: row.get(2)?,
                })
            })?
            .collect()
        })
        .map_err(failed)
}

pub(in super::super) struct RequestBelow {
    pub(in super::super) id: String,
    pub(in super::super) ingested_at: u64,
    /// Nothing pending belongs to it.
    pub(in super::super) free: bool,
}

/// Known messages whose record stands below a position.
pub(in super::super) fn keys_below(
    db: &Connection,
    below: Position,
    limit: u32,
) -> Result<Vec<KeyEntry>, StoreError> {
    db.prepare_cached(
        "SELECT key, request_id, expires_at FROM dedupe WHERE position < ?1
         ORDER BY position LIMIT ?2",
    )
    .and_then(|mut find| {
        find.query_map(params![signed(below.to_u64()), limit], |row| {
            Ok(KeyEntry {
                key: row.get(0)?,
                request_id: row.get(1)?,
                expires_at: rows::unsigned(row, 2)?,
            })
        })?
        .collect()
    })
    .map_err(failed)
}

pub(in super::super) fn forget_keys(
    db: &mut Connection,
    keys: &[KeyEntry],
) -> rusqlite::Result<()> {
    let transaction = db.transaction()?;
    {
        let mut delete = transaction.prepare_cached("DELETE FROM dedupe WHERE key = ?1")?;
        for entry in keys {
            delete.execute([entry.key.as_slice()])?;
        }
    }
    transaction.commit()
}

/// Newest first: keys with their expiry, for the filter.
pub(in super::super) fn each_key(
    db: &Connection,
    mut visit: impl FnMut(crate::store::journal::entry::Key, u64) -> bool,
) -> Result<bool, StoreError> {
    let mut all = || {
        let mut find = db.prepare("SELECT key, expires_at FROM dedupe ORDER BY position DESC")?;
        let mut found = find.query([])?;
        while let Some(row) = found.next()? {
            if !visit(row.get(0)?, rows::unsigned(row, 1)?) {
                return Ok(false);
            }
        }
        Ok(true)
    };
    all().map_err(failed::<rusqlite::Error>)
}

/// Events that stand differently in the two ways of being pending, by status and by due time, and
/// how far the running count is off.
pub(in super::super) fn imbalance(db: &Connection) -> Result<u64, StoreError> {
    let [scheduled, queued, hold] = [
        EventStatus::Scheduled,
        EventStatus::Queued,
        EventStatus::Hold,
    ]
    .map(|status| signed(codes::status_code(status)));
    let stray = db
        .prepare_cached(
            "SELECT count(*) FROM event WHERE (due_at IS NULL) = (status IN (?1, ?2, ?3))",
        )
        .and_then(|mut count| {
            count.query_row([scheduled, queued, hold], |row| rows::unsigned(row, 0))
        })
        .map_err(failed)?;
    let mut found = Backlog::default();
    let counts = db
        .prepare_cached(
            "SELECT status, count(*) FROM event WHERE due_at IS NOT NULL GROUP BY status",
        )
        .and_then(|mut count| {
            count
                .query_map([], |row| {
                    Ok((rows::unsigned(row, 0)?, rows::unsigned(row, 1)?))
                })?
                .collect::<rusqlite::Result<Vec<_>>>()
        })
        .map_err(failed)?;
    for (code, count) in counts {
        match codes::status_from(code) {
            Ok(EventStatus::Scheduled) => found.scheduled = count,
            Ok(EventStatus::Queued) => found.queued = count,
            Ok(EventStatus::Hold) => found.hold = count,
            _ => {}
        }
    }
    let told = super::state(db).map_err(failed)?.facts.backlog;
    let off = found.scheduled.abs_diff(told.scheduled)
        + found.queued.abs_diff(told.queued)
        + found.hold.abs_diff(told.hold);
    Ok(stray + off)
}

/// Whether the file is whole, by SQLite's own check.
pub(in super::super) fn check(db: &Connection) -> Result<Option<String>, StoreError> {
    let found: Option<String> = db
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .optional()
        .map_err(failed)?;
    Ok(found.filter(|text| text != "ok"))
}
