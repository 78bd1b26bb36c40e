//! Questions to the readers: lists, counts, look-ups and what is due.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Row, params, params_from_iter};

use super::changes::time;
use super::rows::{self, status_code, status_from};
use super::{StoreError, failed};
use crate::store::{
    AttemptQuery, AttemptRecord, DueEvent, DueQuery, EventQuery, EventRecord, EventStatus,
    EventTotals, PendingLane, RequestCounts, RequestHistory, RequestQuery, RequestRecord,
    RequestTotals,
};

const MAX_PAGE: u32 = 255;

/// Conditions joined by AND, with their parameters.
#[derive(Default)]
struct Where {
    terms: Vec<String>,
    values: Vec<Value>,
}

impl Where {
    fn team(team_id: &str) -> Self {
        let mut all = Self::default();
        all.push("team_id = ?", Value::Text(team_id.to_owned()));
        all
    }

    fn push(&mut self, term: &str, value: Value) {
        self.terms.push(term.to_owned());
        self.values.push(value);
    }

    fn text(&mut self, term: &str, value: Option<&String>) {
        if let Some(value) = value {
            self.push(term, Value::Text(value.clone()));
        }
    }

    fn time(&mut self, term: &str, value: Option<u64>) {
        if let Some(value) = value {
            self.push(term, Value::Integer(time(value)));
        }
    }

    fn one_of(&mut self, column: &str, values: &[String]) {
        if !values.is_empty() {
            let marks = vec!["?"; values.len()].join(", ");
            self.terms.push(format!("{column} IN ({marks})"));
            self.values.extend(values.iter().cloned().map(Value::Text));
        }
    }

    fn sql(&self) -> String {
        self.terms.join(" AND ")
    }
}

pub(super) fn requests(
    db: &Connection,
    query: &RequestQuery,
    with_data: bool,
) -> Result<Vec<(RequestRecord, RequestCounts)>, StoreError> {
    let mut filter = request_filter(query);
    filter.text("id < ?", query.before_id.as_ref());
    let columns = if with_data {
        rows::REQUEST.to_owned()
    } else {
        rows::REQUEST.replace("headers, body", "x'', x''")
    };
    let found = list(db, &columns, "request", filter, query.limit, rows::request)?;
    found
        .into_iter()
        .map(|request| {
            let counts = counts(db, &request.id)?;
            Ok((request, counts))
        })
        .collect()
}

pub(super) fn request(
    db: &Connection,
    team_id: &str,
    id: &str,
) -> Result<Option<(RequestRecord, RequestCounts)>, StoreError> {
    match one(db, rows::REQUEST, "request", team_id, id, rows::request)? {
        None => Ok(None),
        Some(request) => Ok(Some((request, counts(db, id)?))),
    }
}

pub(super) fn history(
    db: &Connection,
    team_id: &str,
    id: &str,
) -> Result<Option<RequestHistory>, StoreError> {
    let Some((request, counts)) = request(db, team_id, id)? else {
        return Ok(None);
    };
    let of = |columns: &str, table: &str| {
        format!("SELECT {columns} FROM {table} WHERE request_id = ?1 ORDER BY id")
    };
    let events = all(db, &of(rows::EVENT, "event"), id, rows::event)?;
    let attempts = all(db, &of(rows::ATTEMPT, "attempt"), id, rows::attempt)?;
    let repeats = all(
        db,
        "SELECT request_id, received_at, client_ip, requeued FROM repeat WHERE request_id = ?1
         ORDER BY received_at, place",
        id,
        |row| rows::repeat(row).map(Ok),
    )?;
    Ok(Some(RequestHistory {
        request,
        counts,
        events,
        attempts,
        repeats,
    }))
}

pub(super) fn event(
    db: &Connection,
    team: &str,
    id: &str,
) -> Result<Option<EventRecord>, StoreError> {
    one(db, rows::EVENT, "event", team, id, rows::event)
}

pub(super) fn attempt(
    db: &Connection,
    team: &str,
    id: &str,
) -> Result<Option<AttemptRecord>, StoreError> {
    one(db, rows::ATTEMPT, "attempt", team, id, rows::attempt)
}

pub(super) fn events(db: &Connection, query: &EventQuery) -> Result<Vec<EventRecord>, StoreError> {
    let mut filter = event_filter(query);
    if query.status.is_none() {
        filter.push(
            "status <> ?",
            Value::Integer(status_code(EventStatus::Cancelled)),
        );
    }
    filter.text("id < ?", query.before_id.as_ref());
    list(db, rows::EVENT, "event", filter, query.limit, rows::event)
}

pub(super) fn attempts(
    db: &Connection,
    query: &AttemptQuery,
) -> Result<Vec<AttemptRecord>, StoreError> {
    let mut filter = Where::team(&query.team_id);
    filter.time("started_at >= ?", query.from);
    filter.time("started_at < ?", query.to);
    if let Some(successful) = query.successful {
        filter.push("successful = ?", Value::Integer(i64::from(successful)));
    }
    filter.one_of("event_id", &query.event_ids);
    filter.one_of("destination_id", &query.destination_ids);
    filter.text("id < ?", query.before_id.as_ref());
    list(
        db,
        rows::ATTEMPT,
        "attempt",
        filter,
        query.limit,
        rows::attempt,
    )
}

pub(super) fn count_requests(
    db: &Connection,
    query: &RequestQuery,
) -> Result<RequestTotals, StoreError> {
    let filter = request_filter(query);
    let (accepted, rejected): (i64, i64) = db
        .prepare_cached(&format!(
            "SELECT count(*) FILTER (WHERE rejection_cause IS NULL),
                    count(*) FILTER (WHERE rejection_cause IS NOT NULL)
             FROM request WHERE {}",
            filter.sql()
        ))
        .and_then(|mut count| {
            count.query_row(params_from_iter(filter.values), |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
        })
        .map_err(failed)?;
    let mut again = Where::team(&query.team_id);
    again.time("received_at >= ?", query.from);
    again.time("received_at < ?", query.to);
    again.text("source_id = ?", query.source_id.as_ref());
    let repeats: i64 = db
        .prepare_cached(&format!(
            "SELECT count(*) FROM repeat WHERE {}",
            again.sql()
        ))
        .and_then(|mut count| count.query_row(params_from_iter(again.values), |row| row.get(0)))
        .map_err(failed)?;
    Ok(RequestTotals {
        accepted: accepted.cast_unsigned(),
        rejected: rejected.cast_unsigned(),
        repeats: repeats.cast_unsigned(),
    })
}

pub(super) fn count_events(db: &Connection, query: &EventQuery) -> Result<EventTotals, StoreError> {
    let filter = event_filter(query);
    let mut count = db
        .prepare_cached(&format!(
            "SELECT status, count(*) FROM event WHERE {} GROUP BY status",
            filter.sql()
        ))
        .map_err(failed)?;
    let found = count
        .query_map(params_from_iter(filter.values), |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
        })
        .and_then(Iterator::collect::<rusqlite::Result<Vec<_>>>)
        .map_err(failed)?;
    let mut totals = EventTotals::default();
    for (code, number) in found {
        let slot = match status_from(code) {
            Some(EventStatus::Scheduled) => &mut totals.scheduled,
            Some(EventStatus::Queued) => &mut totals.queued,
            Some(EventStatus::Hold) => &mut totals.hold,
            Some(EventStatus::Successful) => &mut totals.successful,
            Some(EventStatus::Failed) => &mut totals.failed,
            Some(EventStatus::Cancelled) => &mut totals.cancelled,
            None => continue,
        };
        *slot = number.cast_unsigned();
    }
    Ok(totals)
}

pub(super) fn pending_connections(db: &Connection) -> rusqlite::Result<Vec<String>> {
    db.prepare_cached("SELECT DISTINCT connection_id FROM pending")?
        .query_map([], |row| row.get(0))?
        .collect()
}

/// Steps from one branch to the next in the index, so that a million events of one
/// branch cost what one event does.
pub(super) fn pending_lanes(db: &Connection) -> rusqlite::Result<Vec<PendingLane>> {
    const STEPS: &str = "
        WITH RECURSIVE destination (d) AS (
            SELECT min(destination_id) FROM pending
            UNION ALL
            SELECT (SELECT min(destination_id) FROM pending WHERE destination_id > d)
            FROM destination WHERE d IS NOT NULL
        ), lane (d, c) AS (
            SELECT d, (SELECT min(connection_id) FROM pending WHERE destination_id = d)
            FROM destination WHERE d IS NOT NULL
            UNION ALL
            SELECT d, (SELECT min(connection_id) FROM pending
                       WHERE destination_id = d AND connection_id > c)
            FROM lane WHERE c IS NOT NULL
        )
        SELECT d, c, (SELECT min(due_at) FROM pending
                      WHERE destination_id = d AND connection_id = c)
        FROM lane WHERE c IS NOT NULL";
    db.prepare_cached(STEPS)?
        .query_map([], |row| {
            Ok(PendingLane {
                destination_id: row.get(0)?,
                connection_id: row.get(1)?,
                next_attempt_at: row.get::<_, i64>(2)?.cast_unsigned(),
            })
        })?
        .collect()
}

pub(super) fn due(db: &Connection, query: &DueQuery) -> Result<Vec<DueEvent>, StoreError> {
    let most = query.limit as usize + query.except.len();
    let events = db
        .prepare_cached(&format!(
            "SELECT {} FROM
             (SELECT event_id, due_at FROM pending
              WHERE destination_id = ?1 AND connection_id = ?2 AND due_at <= ?3)
             CROSS JOIN event ON event_id = id
             WHERE status <> ?5 ORDER BY due_at, event_id LIMIT ?4",
            rows::EVENT
        ))
        .and_then(|mut find| {
            find.query_map(
                params![
                    query.destination_id,
                    query.connection_id,
                    time(query.now),
                    i64::try_from(most).unwrap_or(i64::MAX),
                    status_code(EventStatus::Hold),
                ],
                rows::event,
            )?
            .collect::<rusqlite::Result<Vec<_>>>()
        })
        .map_err(failed)?;
    let mut found = Vec::new();
    for event in events {
        let event = event?;
        if query.except.contains(&event.id) {
            continue;
        }
        if found.len() == query.limit as usize {
            break;
        }
        let (team, id) = (&event.team_id, &event.request_id);
        let request =
            one(db, rows::REQUEST, "request", team, id, rows::request)?.ok_or_else(|| {
                StoreError::Corrupt {
                    table: "event",
                    id: event.id.clone(),
                    fault: "its request is gone".to_owned(),
                }
            })?;
        found.push(DueEvent { event, request });
    }
    Ok(found)
}

fn request_filter(query: &RequestQuery) -> Where {
    let mut filter = Where::team(&query.team_id);
    filter.time("ingested_at >= ?", query.from);
    filter.time("ingested_at < ?", query.to);
    filter.text("source_id = ?", query.source_id.as_ref());
    filter.text("message_id = ?", query.message_id.as_ref());
    filter.text("event_type = ?", query.event_type.as_ref());
    let mut presence = |column: &str, wanted: Option<bool>| {
        if let Some(wanted) = wanted {
            let is = if wanted { "IS NOT NULL" } else { "IS NULL" };
            filter.terms.push(format!("{column} {is}"));
        }
    };
    presence("rejection_cause", query.rejected);
    presence("verified_by", query.verified);
    filter
}

fn event_filter(query: &EventQuery) -> Where {
    let mut filter = Where::team(&query.team_id);
    filter.time("created_at >= ?", query.from);
    filter.time("created_at < ?", query.to);
    if let Some(status) = query.status {
        filter.push("status = ?", Value::Integer(status_code(status)));
    }
    filter.text("source_id = ?", query.source_id.as_ref());
    filter.text("request_id = ?", query.request_id.as_ref());
    filter.one_of("connection_id", &query.connection_ids);
    filter.one_of("destination_id", &query.destination_ids);
    filter
}

fn counts(db: &Connection, request_id: &str) -> Result<RequestCounts, StoreError> {
    db.prepare_cached(
        "SELECT (SELECT count(*) FROM event WHERE request_id = ?1 AND status <> ?2),
                (SELECT count(*) FROM event WHERE request_id = ?1 AND status = ?2),
                (SELECT count(*) FROM repeat WHERE request_id = ?1)",
    )
    .and_then(|mut count| {
        count.query_row(
            params![request_id, status_code(EventStatus::Cancelled)],
            |row| {
                Ok(RequestCounts {
                    events: row.get(0)?,
                    ignored: row.get(1)?,
                    repeats: row.get(2)?,
                })
            },
        )
    })
    .map_err(failed)
}

/// One page, newest first.
fn list<T>(
    db: &Connection,
    columns: &str,
    table: &str,
    mut filter: Where,
    limit: u32,
    read: impl Fn(&Row<'_>) -> rusqlite::Result<Result<T, StoreError>>,
) -> Result<Vec<T>, StoreError> {
    let sql = format!(
        "SELECT {columns} FROM {table} WHERE {} ORDER BY id DESC LIMIT ?",
        filter.sql()
    );
    filter
        .values
        .push(Value::Integer(i64::from(limit.clamp(1, MAX_PAGE))));
    let found = db
        .prepare_cached(&sql)
        .and_then(|mut find| {
            find.query_map(params_from_iter(filter.values), read)?
                .collect::<rusqlite::Result<Vec<_>>>()
        })
        .map_err(failed)?;
    found.into_iter().collect()
}

fn one<T>(
    db: &Connection,
    columns: &str,
    table: &str,
    team_id: &str,
    id: &str,
    read: impl FnOnce(&Row<'_>) -> rusqlite::Result<Result<T, StoreError>>,
) -> Result<Option<T>, StoreError> {
    db.prepare_cached(&format!(
        "SELECT {columns} FROM {table} WHERE id = ?1 AND team_id = ?2"
    ))
    .and_then(|mut find| find.query_row([id, team_id], read).optional())
    .map_err(failed)?
    .transpose()
}

fn all<T>(
    db: &Connection,
    sql: &str,
    id: &str,
    read: impl Fn(&Row<'_>) -> rusqlite::Result<Result<T, StoreError>>,
) -> Result<Vec<T>, StoreError> {
    let found = db
        .prepare_cached(sql)
        .and_then(|mut find| {
            find.query_map([id], read)?
                .collect::<rusqlite::Result<Vec<_>>>()
        })
        .map_err(failed)?;
    found.into_iter().collect()
}
