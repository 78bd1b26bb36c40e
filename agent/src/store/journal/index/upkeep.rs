//! What retention asks of the index and changes in it, in slices.

use std::collections::HashSet;

use hookplane_journal::Position;
use rusqlite::{Connection, OptionalExtension as _, params};

pub(in super::super) use super::books::imbalance;
use super::compact::{pack, unpack};
use super::periods;
use super::totals::{self, MINUTE, REPEAT, Totals};
use super::{failed, rows, signed, write};
use crate::ids::{IdMint, Kind};
use crate::store::StoreError;
use crate::store::journal::entry::KeyEntry;
use crate::store::journal::table::Kept;

/// Nothing pending belongs to the request.
const FREE: &str = "NOT EXISTS (SELECT 1 FROM event
    WHERE event.request_id = request.id AND event.due_at IS NOT NULL)";

/// Takes away what belongs to a request, what belongs to its events first.
const BELONGING: [&str; 3] = [
    "DELETE FROM attempt WHERE event_id IN (SELECT id FROM event WHERE request_id = ?1)",
    "DELETE FROM event WHERE request_id = ?1",
    "DELETE FROM repeat WHERE request_id = ?1",
];

/// Ids of requests received before a time, from one on, oldest first; and which of them are free.
pub(in super::super) fn old_requests(
    db: &Connection,
    after: &str,
    before: u64,
    limit: u32,
) -> Result<Vec<(String, bool)>, StoreError> {
    let newest = IdMint::lower_bound(Kind::Request, before);
    let sql =
        format!("SELECT id, {FREE} FROM request WHERE id > ?1 AND id < ?2 ORDER BY id LIMIT ?3");
    db.prepare_cached(&sql)
        .and_then(|mut find| {
            let (after, newest) = (pack(Kind::Request, after), pack(Kind::Request, &newest));
            find.query_map(params![after, newest, limit], |row| {
                Ok((unpack(row, 0, Kind::Request)?, row.get(1)?))
            })?
            .collect()
        })
        .map_err(failed)
}

/// What was deleted.
#[derive(Debug, Default)]
pub(in super::super) struct Deleted {
    pub(in super::super) ids: HashSet<String>,
    pub(in super::super) kept: Kept,
}

/// Deletes requests, if still nothing pending belongs to them.
pub(in super::super) fn delete(db: &mut Connection, ids: &[String]) -> rusqlite::Result<Deleted> {
    let transaction = db.transaction()?;
    let mut gone = Deleted::default();
    let mut sums = Totals::default();
    {
        let sql = format!("DELETE FROM request WHERE id = ?1 AND {FREE} RETURNING bytes, rejected");
        let mut delete = transaction.prepare_cached(&sql)?;
        for id in ids {
            let mut own = Totals::default();
            totals::without(&transaction, id, &mut own)?;
            let packed = pack(Kind::Request, id);
            let row = delete.query_row([&packed], |row| {
                Ok((rows::unsigned(row, 0)?, row.get::<_, bool>(1)?))
            });
            let Some((bytes, rejected)) = row.optional()? else {
                continue;
            };
            gone.ids.insert(id.clone());
            sums.take(own);
            gone.kept.bytes += bytes;
            gone.kept.rejected += if rejected { bytes } else { 0 };
            for belonging in BELONGING {
                transaction.prepare_cached(belonging)?.execute([&packed])?;
            }
        }
    }
    totals::put(&transaction, &sums)?;
    // Relative to what the index says: memory may be further on.
    write::lower_fact(&transaction, "bytes", gone.kept.bytes)?;
    write::lower_fact(&transaction, "rejected_bytes", gone.kept.rejected)?;
    transaction.commit()?;
    Ok(gone)
}

/// Forgets some arrivals before a time, also those of requests that are gone.
pub(in super::super) fn forget_repeats(
    db: &mut Connection,
    before: u64,
    limit: u32,
) -> rusqlite::Result<()> {
    let before = before / MINUTE * MINUTE;
    let db = db.transaction()?;
    let mut sums = Totals::default();
    {
        let mut forget = db.prepare_cached(
            "DELETE FROM repeat WHERE (request_id, received_at, place) IN
             (SELECT request_id, received_at, place FROM repeat WHERE received_at < ?1 LIMIT ?2)
             RETURNING team_id, received_at",
        )?;
        let mut forgotten = forget.query(params![signed(before), limit])?;
        while let Some(row) = forgotten.next()? {
            let team: String = row.get(0)?;
            sums.add(&team, rows::unsigned(row, 1)?, REPEAT, -1);
        }
    }
    totals::put(&db, &sums)?;
    totals::forget_empty(&db)?;
    db.prepare_cached("DELETE FROM counted WHERE minute < ?1")?
        .execute([signed(before)])?;
    db.commit()
}

/// Gives some free pages back to the file system.
pub(in super::super) fn vacuum(db: &Connection, pages: u64) -> rusqlite::Result<()> {
    let mut vacuum = db.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
    let mut steps = vacuum.query([])?;
    while steps.next()?.is_some() {}
    Ok(())
}

/// Pages of the index, in the file or in the log.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Pages {
    pub(in super::super) all: u64,
    pub(in super::super) free: u64,
    pub(in super::super) bytes_each: u64,
}

pub(in super::super) fn pages(db: &Connection) -> Result<Pages, StoreError> {
    let ask = |name| db.pragma_query_value(None, name, |row| rows::unsigned(row, 0));
    let all = || {
        Ok(Pages {
            all: ask("page_count")?,
            free: ask("freelist_count")?,
            bytes_each: ask("page_size")?,
        })
    };
    all().map_err(failed::<rusqlite::Error>)
}

/// Bytes of requests in some parts of the journal, and what moving the pending ones takes.
#[derive(Clone, Copy, Debug, Default)]
pub(in super::super) struct Sample {
    pub(in super::super) bytes: u64,
    pub(in super::super) pending: u64,
}

/// Looks at the first so many requests of each part. A try that moves with its request counts as
/// so many bytes.
pub(in super::super) fn sample(
    db: &Connection,
    parts: &[(Position, Position)],
    limit: u32,
    (most_tries, try_bytes): (u64, u64),
) -> Result<Sample, StoreError> {
    let sql = format!(
        "SELECT bytes, {FREE}, (SELECT coalesce(sum(attempts), 0) FROM event
         WHERE event.request_id = request.id)
         FROM request WHERE position >= ?1 AND position < ?2 ORDER BY position LIMIT ?3"
    );
    let mut all = Sample::default();
    let mut look = || {
        let mut find = db.prepare_cached(&sql)?;
        for (from, to) in parts {
            let mut found =
                find.query(params![signed(from.to_u64()), signed(to.to_u64()), limit])?;
            while let Some(row) = found.next()? {
                let bytes = rows::unsigned(row, 0)?;
                all.bytes += bytes;
                if !row.get::<_, bool>(1)? {
                    all.pending += bytes + rows::unsigned(row, 2)?.min(most_tries) * try_bytes;
                }
            }
        }
        Ok(())
    };
    look().map_err(failed::<rusqlite::Error>)?;
    Ok(all)
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

/// Requests whose head stands between two positions, oldest first.
pub(in super::super) fn requests_between(
    db: &Connection,
    from: Position,
    below: Position,
    limit: u32,
) -> Result<Vec<RequestBelow>, StoreError> {
    let sql = format!(
        "SELECT id, position, ingested_at, {FREE} FROM request
         WHERE position >= ?1 AND position < ?2 ORDER BY position LIMIT ?3"
    );
    let bounds = params![signed(from.to_u64()), signed(below.to_u64()), limit];
    db.prepare_cached(&sql)
        .and_then(|mut find| {
            find.query_map(bounds, |row| {
                Ok(RequestBelow {
                    id: unpack(row, 0, Kind::Request)?,
                    position: Position::from_u64(rows::unsigned(row, 1)?),
                    ingested_at: rows::unsigned(row, 2)?,
                    free: row.get(3)?,
                })
            })?
            .collect()
        })
        .map_err(failed)
}

pub(in super::super) struct RequestBelow {
    pub(in super::super) id: String,
    pub(in super::super) position: Position,
    pub(in super::super) ingested_at: u64,
    /// Nothing pending belongs to it.
    pub(in super::super) free: bool,
}

/// A known message, and where the index has it.
#[derive(Clone, Debug)]
pub(in super::super) struct KeyBelow {
    pub(in super::super) entry: KeyEntry,
    period: i64,
}

/// Known messages whose record stands below a position.
pub(in super::super) fn keys_below(
    db: &Connection,
    below: Position,
    limit: u32,
) -> Result<Vec<KeyBelow>, StoreError> {
    db.prepare_cached(
        "SELECT key, request_id, expires_at, period FROM dedupe WHERE position < ?1
         ORDER BY position LIMIT ?2",
    )
    .and_then(|mut find| {
        find.query_map(params![signed(below.to_u64()), limit], |row| {
            Ok(KeyBelow {
                entry: KeyEntry {
                    key: row.get(0)?,
                    request_id: unpack(row, 1, Kind::Request)?,
                    expires_at: rows::unsigned(row, 2)?,
                },
                period: row.get(3)?,
            })
        })?
        .collect()
    })
    .map_err(failed)
}

/// Forgets these where they stand below a position: one that was written again since stays.
pub(in super::super) fn forget_keys(
    db: &mut Connection,
    keys: &[KeyBelow],
    below: Position,
) -> rusqlite::Result<()> {
    let transaction = db.transaction()?;
    {
        let mut delete = transaction.prepare_cached(
            "DELETE FROM dedupe WHERE period = ?1 AND key = ?2 AND position < ?3",
        )?;
        for key in keys {
            let place = params![key.period, key.entry.key.as_slice(), signed(below.to_u64())];
            if delete.execute(place)? > 0 {
                periods::shrink(&transaction, key.period)?;
            }
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

/// Whether the file is whole, by SQLite's own check.
pub(in super::super) fn check(db: &Connection) -> Result<Option<String>, StoreError> {
    let found: Option<String> = db
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .optional()
        .map_err(failed)?;
    Ok(found.filter(|text| text != "ok"))
}
