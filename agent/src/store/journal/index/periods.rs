//! Periods: what comes in no order is written near what came just before it.
//!
//! Known messages have keys without any order. Spread over all there are, each would write a page of its
//! own; kept by period they share pages, at the price of a look into each period when one is looked up.
//! Owns how long a period is: longer the more keys there are, so that there are never many. Invariant: a
//! key is in a period that `period` names, and expires no later than that says.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::signed;

/// Keys of a period, at least: a few megabytes.
const LEAST: i64 = if cfg!(test) { 4 } else { 50_000 };
/// A period has one part in so many of all keys, so there are about as many.
const SHARE: i64 = 64;

/// The period that keys are put into now.
pub(super) fn current(db: &Connection) -> rusqlite::Result<i64> {
    let newest: Option<(i64, i64)> = db
        .prepare_cached("SELECT number, keys FROM period ORDER BY number DESC LIMIT 1")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((number, keys)) = newest else {
        return Ok(1);
    };
    let all: i64 = db
        .prepare_cached("SELECT sum(keys) FROM period")?
        .query_row([], |row| row.get(0))?;
    Ok(if keys >= LEAST.max(all / SHARE) {
        number + 1
    } else {
        number
    })
}

/// So many keys more are in a period, the last of them until then. Some may have been in it before.
pub(super) fn grow(db: &Connection, period: i64, by: i64, expiry: u64) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO period VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET
         keys = keys + excluded.keys, latest_expiry = max(latest_expiry, excluded.latest_expiry)",
    )?
    .execute(params![period, by, signed(expiry)])?;
    Ok(())
}

/// One key fewer is in it. The newest one stays: numbers are not given twice.
pub(super) fn shrink(db: &Connection, period: i64) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE period SET keys = keys - 1 WHERE number = ?1")?
        .execute([period])?;
    db.prepare_cached(
        "DELETE FROM period WHERE number = ?1 AND number < (SELECT max(number) FROM period)
         AND NOT EXISTS (SELECT 1 FROM dedupe WHERE period = ?1)",
    )?
    .execute([period])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_grow_with_what_there_is_and_go_when_they_are_empty() {
        let dir = tempfile::tempdir().unwrap();
        let (db, _) = super::super::open(&dir.path().join("index.db")).unwrap();
        for key in 0..10_000 {
            let period = current(&db).unwrap();
            grow(&db, period, 1, key).unwrap();
        }
        let count = || -> i64 {
            db.query_row("SELECT count(*) FROM period", [], |row| row.get(0))
                .unwrap()
        };
        let many = count();
        assert!((20..400).contains(&many), "{many} periods");
        let key = "INSERT INTO dedupe VALUES (1, x'00', x'00', 1, 1)";
        db.execute(key, []).unwrap();
        shrink(&db, 1).unwrap();
        assert_eq!(count(), many, "one with a key in it is gone");
        db.execute("DELETE FROM dedupe", []).unwrap();
        shrink(&db, 1).unwrap();
        assert_eq!(count(), many - 1);
    }
}
