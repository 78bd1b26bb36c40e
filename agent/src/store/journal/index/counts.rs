//! Counts. Those of a team in a window of time are sums of whole minutes, with the rows of the two
//! broken minutes at its ends; a filter has rows read, within the deadline of questions.

use std::collections::HashSet;

use rusqlite::types::Value;
use rusqlite::{Connection, Row, params_from_iter};

use super::pages::{Where, event_walks, json_list, request_walk};
use super::read::collect;
use super::totals::{self, ACCEPTED, MINUTE, REJECTED, REPEAT};
use super::{failed, rows};
use crate::store::journal::entry::codes;
use crate::store::{EventQuery, EventStatus, EventTotals, RequestQuery, RequestTotals, StoreError};

/// From and to, the latter excluded.
type Stretch = (u64, u64);

pub(in super::super) fn count_events(
    db: &Connection,
    query: &EventQuery,
) -> Result<EventTotals, StoreError> {
    let mut totals = count_as_stored(db, query)?;
    let of_hold = query.status == Some(EventStatus::Hold);
    if of_hold {
        let held = totals.scheduled + totals.queued;
        (totals.scheduled, totals.queued) = (0, 0);
        totals.hold += held;
    } else if query.status.is_none() && !query.paused.is_empty() {
        let held = EventQuery {
            status: Some(EventStatus::Hold),
            ..query.clone()
        };
        hold(&mut totals, counted_events(db, &held)?);
    }
    Ok(totals)
}

/// What is pending of everybody, with what is on paused connections as held.
pub(in super::super) fn held(
    db: &Connection,
    paused: &HashSet<String>,
    mut totals: EventTotals,
) -> Result<EventTotals, StoreError> {
    // Along an index that has all of it.
    let sql = "SELECT status, count(*) FROM event INDEXED BY event_due
        WHERE due_at IS NOT NULL AND connection IN (SELECT number FROM name
            WHERE text IN (SELECT value FROM json_each(?)))
        GROUP BY status";
    let counts = collect(db, sql, &[json_list(paused)], both)?;
    hold(&mut totals, counts);
    Ok(totals)
}

/// These are held instead.
fn hold(totals: &mut EventTotals, counts: Vec<(u64, u64)>) {
    for (status, number) in counts {
        let from = match codes::status_from(status) {
            Ok(EventStatus::Scheduled) => &mut totals.scheduled,
            Ok(EventStatus::Queued) => &mut totals.queued,
            Ok(_) | Err(_) => continue,
        };
        // The two numbers may be of two moments.
        let moved = number.min(*from);
        *from -= moved;
        totals.hold += moved;
    }
}

fn count_as_stored(db: &Connection, query: &EventQuery) -> Result<EventTotals, StoreError> {
    let filtered = query.status.is_some()
        || query.source_id.is_some()
        || query.request_id.is_some()
        || query.handler.is_some()
        || query.operation_id.is_some()
        || query.unretried
        || !query.connection_ids.is_empty()
        || !query.destination_ids.is_empty();
    let mut totals = EventTotals::default();
    if filtered {
        add_events(&mut totals, counted_events(db, query)?);
        return Ok(totals);
    }
    let (whole, broken) = minutes(query.from, query.to);
    if let Some((from, to)) = whole {
        add_events(&mut totals, totals::sums(db, &query.team_id, from, to)?);
    }
    for (from, to) in broken {
        let part = EventQuery {
            from: Some(from),
            to: Some(to),
            ..query.clone()
        };
        add_events(&mut totals, counted_events(db, &part)?);
    }
    Ok(totals)
}

fn add_events(totals: &mut EventTotals, counts: Vec<(u64, u64)>) {
    for (what, number) in counts {
        // Requests have other codes.
        *match codes::status_from(what) {
            Ok(EventStatus::Scheduled) => &mut totals.scheduled,
            Ok(EventStatus::Queued) => &mut totals.queued,
            Ok(EventStatus::Hold) => &mut totals.hold,
            Ok(EventStatus::Successful) => &mut totals.successful,
            Ok(EventStatus::Failed) => &mut totals.failed,
            Ok(EventStatus::Cancelled) => &mut totals.cancelled,
            Err(_) => continue,
        } += number;
    }
}

fn counted_events(db: &Connection, query: &EventQuery) -> Result<Vec<(u64, u64)>, StoreError> {
    let mut counts = Vec::new();
    for walk in event_walks(query, None, false) {
        let sql = format!(
            "SELECT status, count(*) FROM {} GROUP BY status",
            walk.from()
        );
        counts.extend(collect(db, &sql, &walk.filter.values, both)?);
    }
    Ok(counts)
}

pub(in super::super) fn count_requests(
    db: &Connection,
    query: &RequestQuery,
) -> Result<RequestTotals, StoreError> {
    let by_source = query.source_id.is_some();
    let filtered = by_source
        || query.rejected.is_some()
        || query.verified.is_some()
        || query.message_id.is_some()
        || query.event_type.is_some()
        || query.unreplayed;
    let (whole, broken) = minutes(query.from, query.to);
    let sums = match whole {
        Some((from, to)) => totals::sums(db, &query.team_id, from, to)?,
        None => Vec::new(),
    };
    let sum = |what| sums.iter().find(|sum| sum.0 == what).map_or(0, |sum| sum.1);
    let mut totals = RequestTotals::default();
    if filtered {
        (totals.accepted, totals.rejected) = counted_requests(db, query)?;
    } else {
        (totals.accepted, totals.rejected) = (sum(ACCEPTED), sum(REJECTED));
        for stretch in &broken {
            let (accepted, rejected) = counted_requests(db, &within(query, *stretch))?;
            totals.accepted += accepted;
            totals.rejected += rejected;
        }
    }
    // Of the other filters arrivals know nothing.
    if by_source {
        totals.repeats = kept_repeats(db, query)?;
    } else {
        totals.repeats = sum(REPEAT);
        for stretch in broken {
            totals.repeats += kept_repeats(db, &within(query, stretch))?;
        }
    }
    let counted = arrivals(query, "minute");
    let sql = format!(
        "SELECT coalesce(sum(count), 0) FROM counted WHERE {}",
        counted.sql()
    );
    totals.repeats += one(db, &sql, &counted.values, |row| rows::unsigned(row, 0))?;
    Ok(totals)
}

fn within(query: &RequestQuery, (from, to): Stretch) -> RequestQuery {
    RequestQuery {
        from: Some(from),
        to: Some(to),
        ..query.clone()
    }
}

fn counted_requests(db: &Connection, query: &RequestQuery) -> Result<(u64, u64), StoreError> {
    let walk = request_walk(query, None);
    let sql = format!(
        "SELECT count(*) FILTER (WHERE NOT rejected), count(*) FILTER (WHERE rejected) FROM {}",
        walk.from()
    );
    one(db, &sql, &walk.filter.values, both)
}

fn kept_repeats(db: &Connection, query: &RequestQuery) -> Result<u64, StoreError> {
    let filter = arrivals(query, "received_at");
    let sql = format!("SELECT count(*) FROM repeat WHERE {}", filter.sql());
    one(db, &sql, &filter.values, |row| rows::unsigned(row, 0))
}

fn arrivals(query: &RequestQuery, column: &str) -> Where {
    let mut filter = Where::default();
    filter.text("team_id = ?", Some(&query.team_id));
    filter.time(&format!("{column} >= ?"), query.from);
    filter.time(&format!("{column} < ?"), query.to);
    filter.text("source_id = ?", query.source_id.as_ref());
    filter
}

/// The whole minutes of a window, and what is left at its ends.
fn minutes(from: Option<u64>, to: Option<u64>) -> (Option<Stretch>, Vec<Stretch>) {
    const LAST: u64 = i64::MAX.cast_unsigned() / MINUTE * MINUTE;
    let from = from.unwrap_or(0).min(LAST);
    let to = to.unwrap_or(LAST).min(LAST);
    let (first, last) = (from.div_ceil(MINUTE) * MINUTE, to / MINUTE * MINUTE);
    if first > last {
        return (None, vec![(from, to)]);
    }
    let ends = [(from, first), (last, to)];
    let ends = ends.into_iter().filter(|(from, to)| from < to);
    (Some((first, last)), ends.collect())
}

fn both(row: &Row<'_>) -> rusqlite::Result<(u64, u64)> {
    Ok((rows::unsigned(row, 0)?, rows::unsigned(row, 1)?))
}

fn one<T>(
    db: &Connection,
    sql: &str,
    values: &[Value],
    read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<T, StoreError> {
    db.prepare_cached(sql)
        .and_then(|mut find| find.query_row(params_from_iter(values), read))
        .map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_whole_minutes_and_its_ends() {
        assert_eq!(
            minutes(Some(MINUTE + 5), Some(4 * MINUTE + 7)),
            (
                Some((2 * MINUTE, 4 * MINUTE)),
                vec![(MINUTE + 5, 2 * MINUTE), (4 * MINUTE, 4 * MINUTE + 7)]
            )
        );
        assert_eq!(minutes(Some(5), Some(9)), (None, vec![(5, 9)]));
        assert_eq!(
            minutes(Some(MINUTE), Some(2 * MINUTE)),
            (Some((MINUTE, 2 * MINUTE)), vec![])
        );
        let (whole, ends) = minutes(None, None);
        assert!(whole.is_some_and(|whole| whole.0 == 0) && ends.is_empty());
    }
}
