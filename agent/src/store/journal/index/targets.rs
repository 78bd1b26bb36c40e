//! What a bulk operation takes next, and where stands what it made.
//!
//! Walks along the same indexes as lists do (`pages`), from the oldest on, and looks up for each row
//! what was made of it: so a step that is done again finds what the first one made.

use rusqlite::types::Value;
use rusqlite::{Connection, Row};

use super::compact::unpack;
use super::pages::{Walk, event_walks, request_walk};
use super::read::{collect, packed};
use super::rows;
use crate::ids::Kind;
use crate::store::journal::entry::codes;
use crate::store::{
    EventQuery, EventStatus, EventTotals, RequestGroup, RequestQuery, SentAgain, StoreError,
    Target, TargetPage,
};

/// Of the event or request of the row, made by an operation or by anybody: along the row's own
/// children, of which there are few. The operation's may be a million.
const CHILD_EVENTS: &str = "FROM event child INDEXED BY event_by_request
    WHERE child.request_id = event.request_id AND child.retry_parent = event.id";
const CHILD_REQUESTS: &str = "FROM request child INDEXED BY request_by_parent
    WHERE child.replay_parent = request.id";

pub(in super::super) fn events(
    db: &Connection,
    query: &EventQuery,
    page: &TargetPage,
) -> Result<Vec<Target>, StoreError> {
    let query = behind_events(query, page.after_id.as_ref());
    let mut found = Vec::new();
    // Several walks are along several connections, so they find no event twice.
    for walk in event_walks(&query, None, false) {
        found.extend(next(db, walk, Kind::Event, CHILD_EVENTS, page)?);
    }
    found.sort_unstable_by(|one, other| one.id.cmp(&other.id));
    found.truncate(page.limit as usize);
    Ok(found)
}

pub(in super::super) fn requests(
    db: &Connection,
    query: &RequestQuery,
    page: &TargetPage,
) -> Result<Vec<Target>, StoreError> {
    let walk = request_walk_behind(query, page.after_id.as_ref());
    next(db, walk, Kind::Request, CHILD_REQUESTS, page)
}

/// Where it goes on is its lower bound: of two, a walk may begin at the first.
fn behind_events(query: &EventQuery, after: Option<&String>) -> EventQuery {
    EventQuery {
        from: query.from.filter(|_| after.is_none()),
        ..query.clone()
    }
}

fn request_walk_behind(query: &RequestQuery, after: Option<&String>) -> Walk {
    let bounds = RequestQuery {
        from: query.from.filter(|_| after.is_none()),
        ..query.clone()
    };
    let mut walk = request_walk(&bounds, None);
    // Ids may be later than their rows, so this one is looked at all the way.
    walk.filter.time("ingested_at >= ?", query.from);
    walk
}

fn next(
    db: &Connection,
    mut walk: Walk,
    kind: Kind,
    children: &str,
    page: &TargetPage,
) -> Result<Vec<Target>, StoreError> {
    walk.filter.id("id > ?", kind, page.after_id.as_ref());
    let sql = sql(&walk, children);
    let mut values = vec![packed(Kind::BulkOperation, &page.operation_id)];
    values.append(&mut walk.filter.values);
    values.push(Value::Integer(i64::from(page.limit)));
    collect(db, &sql, &values, |row| {
        let sent_again = match (row.get(1)?, row.get(2)?) {
            (true, _) => SentAgain::ByIt,
            (false, true) => SentAgain::Otherwise,
            (false, false) => SentAgain::Never,
        };
        Ok(Target {
            id: unpack(row, 0, kind)?,
            sent_again,
        })
    })
}

/// What was made of each row, along `children`.
fn sql(walk: &Walk, children: &str) -> String {
    format!(
        "SELECT id, EXISTS (SELECT 1 {children} AND child.operation = ?),
         EXISTS (SELECT 1 {children}) FROM {} ORDER BY id LIMIT ?",
        walk.from()
    )
}

pub(in super::super) fn operation(
    db: &Connection,
    id: &str,
    with_successful: bool,
) -> Result<EventTotals, StoreError> {
    let id = packed(Kind::BulkOperation, id);
    let sql = "SELECT status, count(*) FROM event INDEXED BY event_undone_by_operation
        WHERE operation = ? AND status <> 4 GROUP BY status";
    let mut totals = EventTotals::default();
    for (status, count) in collect(db, sql, std::slice::from_ref(&id), both)? {
        match codes::status_from(status) {
            Ok(EventStatus::Scheduled) => totals.scheduled += count,
            Ok(EventStatus::Queued) => totals.queued += count,
            Ok(EventStatus::Failed) => totals.failed += count,
            Ok(EventStatus::Cancelled) => totals.cancelled += count,
            Ok(EventStatus::Hold | EventStatus::Successful) | Err(_) => {}
        }
    }
    if with_successful {
        let sql = "SELECT 0, count(*) FROM event INDEXED BY event_by_operation WHERE operation = ?";
        let all = collect(db, sql, &[id], both)?;
        let all = all.first().map_or(0, |(_, count)| *count);
        let others = totals.scheduled + totals.queued + totals.failed + totals.cancelled;
        totals.successful = all.saturating_sub(others);
    }
    Ok(totals)
}

pub(in super::super) fn request_groups(
    db: &Connection,
    query: &RequestQuery,
) -> Result<Vec<RequestGroup>, StoreError> {
    let walk = request_walk(query, None);
    let sql = format!(
        "SELECT (SELECT text FROM name WHERE number = request.source), rejected <> 0, count(*),
         min(id), max(id) FROM {} GROUP BY source, rejected <> 0",
        walk.from()
    );
    collect(db, &sql, &walk.filter.values, |row| {
        Ok(RequestGroup {
            source_id: row.get::<_, Option<String>>(0)?.unwrap_or_default(),
            rejected: row.get(1)?,
            count: rows::unsigned(row, 2)?,
            oldest_id: unpack(row, 3, Kind::Request)?,
            newest_id: unpack(row, 4, Kind::Request)?,
        })
    })
}

fn both(row: &Row<'_>) -> rusqlite::Result<(u64, u64)> {
    Ok((rows::unsigned(row, 0)?, rows::unsigned(row, 1)?))
}

#[cfg(test)]
mod tests;
