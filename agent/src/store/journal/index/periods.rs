//! Stretches of the journal by which keys and message ids are kept apart.
//!
//! What comes in no order is written near what came just before it, at the price of a look into each
//! period when it is looked up. Owns how long a period is. Invariant: the schema says the same.

use hookplane_journal::Position;

use super::signed;

/// Four segments of the journal: about fifty thousand requests, a few megabytes of entries.
pub(super) const SHIFT: u32 = 34;

pub(super) fn of(position: Position) -> i64 {
    signed(position.to_u64() >> SHIFT)
}

/// All periods that a table has positions in: a subquery.
pub(super) fn all_of(table: &str) -> String {
    format!(
        "WITH RECURSIVE period (number) AS (SELECT min(position) >> {SHIFT} FROM {table}
         UNION ALL SELECT number + 1 FROM period
         WHERE number < (SELECT max(position) >> {SHIFT} FROM {table}))
         SELECT number FROM period"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_period_with_something_in_it_is_looked_into() {
        let db = rusqlite::Connection::open_in_memory().unwrap();
        db.execute_batch("CREATE TABLE t (position INTEGER PRIMARY KEY)")
            .unwrap();
        let numbers = || -> Vec<Option<i64>> {
            let mut find = db.prepare(&all_of("t")).unwrap();
            let found = find.query_map([], |row| row.get(0)).unwrap();
            found.collect::<Result<_, _>>().unwrap()
        };
        assert_eq!(numbers(), [None]);
        for segment in [9, 11, 21] {
            let position = Position::new(segment, 5);
            db.execute("INSERT INTO t VALUES (?1)", [signed(position.to_u64())])
                .unwrap();
        }
        assert_eq!(numbers(), [2, 3, 4, 5].map(Some));
        assert_eq!(of(Position::new(21, 5)), 5);
    }
}
