//! Pages: lists of what belongs to a team, newest first.
//!
//! Every page is a walk along an index in the order of ids, from where it begins until it is full.
//! Ids carry the time, so a window in time is a stretch of the walk. Owns which index a question
//! walks along: the most selective of those there are. What no index knows is looked at on the way,
//! so a rare value makes a long walk, which ends at the deadline of questions.

use std::collections::HashSet;

use hookplane_journal::Position;
use rusqlite::types::Value;
use rusqlite::{Connection, Row};

use super::compact::unpack;
use super::read::{self, Found, collect, named_attempt, packed, whole};
use super::{rows, signed};
use crate::ids::{IdMint, Kind};
use crate::store::journal::entry::codes;
use crate::store::journal::table::is_pending;
use crate::store::{
    AttemptQuery, EventQuery, EventRecord, EventStatus, HandlerOutcome, RequestQuery, StoreError,
};

const MAX_PAGE: u32 = 255;
/// Values of a filter that are walked one by one; more are looked at on the way.
const MOST_WALKS: usize = 64;
/// The id of a refused request is made when it is refused: that much later than it came, at most.
const LATE_IDS: u64 = 60_000;
/// Times in ids have 48 bits.
const LAST_TIME: u64 = (1 << 48) - 1;

/// Those of which nothing was made since.
const UNRETRIED: &str = "NOT EXISTS (SELECT 1 FROM event child
    WHERE child.request_id = event.request_id AND child.retry_parent = event.id)";

/// Those that were not replayed since.
const UNREPLAYED: &str = "NOT EXISTS (SELECT 1 FROM request child
    WHERE child.replay_parent = request.id)";

/// By which message ids are kept: stretches of four segments of the journal, as the schema says it.
const SEGMENTS: &str = "WITH RECURSIVE period (number) AS (SELECT min(position) >> 34 FROM request
    UNION ALL SELECT number + 1 FROM period
    WHERE number < (SELECT max(position) >> 34 FROM request)) SELECT number FROM period";

/// Conditions joined by AND, with their parameters.
#[derive(Clone, Default)]
pub(super) struct Where {
    terms: Vec<String>,
    pub(super) values: Vec<Value>,
}

impl Where {
    fn team(team_id: &str) -> Self {
        let mut all = Self::default();
        all.named("team", Some(team_id));
        all
    }

    /// A number for a name stands in the column.
    fn named(&mut self, column: &str, name: Option<&str>) {
        if let Some(name) = name {
            let term = format!("{column} = (SELECT number FROM name WHERE text = ?)");
            self.push(&term, Value::Text(name.to_owned()));
        }
    }

    /// An id stands there.
    pub(super) fn id(&mut self, term: &str, kind: Kind, id: Option<&String>) {
        if let Some(id) = id {
            self.push(term, packed(kind, id));
        }
    }

    fn push(&mut self, term: &str, value: Value) {
        self.terms.push(term.to_owned());
        self.values.push(value);
    }

    pub(super) fn text(&mut self, term: &str, value: Option<&String>) {
        if let Some(value) = value {
            self.push(term, Value::Text(value.clone()));
        }
    }

    pub(super) fn time(&mut self, term: &str, value: Option<u64>) {
        if let Some(value) = value {
            let value = value.min(i64::MAX.cast_unsigned());
            self.push(term, Value::Integer(signed(value)));
        }
    }

    fn one_of(&mut self, column: &str, names: &[String]) {
        if !names.is_empty() {
            let marks = marks(names.len());
            let numbers = format!("SELECT number FROM name WHERE text IN ({marks})");
            self.terms.push(format!("{column} IN ({numbers})"));
            self.values.extend(names.iter().cloned().map(Value::Text));
        }
    }

    /// Any number of names, of which the column has one, or none.
    fn among(&mut self, column: &str, names: &HashSet<String>, within: bool) {
        let not = if within { "" } else { "NOT " };
        self.terms.push(format!(
            "{column} {not}IN (SELECT number FROM name WHERE text IN (SELECT value FROM json_each(?)))"
        ));
        self.values.push(json_list(names));
    }

    fn one_id_of(&mut self, column: &str, kind: Kind, ids: &[String]) {
        if !ids.is_empty() {
            self.terms
                .push(format!("{column} IN ({})", marks(ids.len())));
            self.values.extend(ids.iter().map(|id| packed(kind, id)));
        }
    }

    /// The stretch of ids that a window in time and a page take up.
    fn ids(&mut self, kind: Kind, window: Window, before: Option<&String>) {
        if let Some(from) = window.from {
            let from = IdMint::lower_bound(kind, from.min(LAST_TIME));
            self.push("id >= ?", packed(kind, &from));
        }
        let end = window.to.map(|to| to.saturating_add(window.late));
        let end = end.filter(|end| *end <= LAST_TIME);
        let end = end.map(|end| IdMint::lower_bound(kind, end));
        let end = end.into_iter().chain(before.cloned()).min();
        self.id("id < ?", kind, end.as_ref());
    }

    pub(super) fn sql(&self) -> String {
        self.terms.join(" AND ")
    }
}

/// One parameter for any number of values.
pub(super) fn json_list(names: &HashSet<String>) -> Value {
    Value::Text(serde_json::json!(names).to_string())
}

fn marks(count: usize) -> String {
    vec!["?"; count].join(", ")
}

#[derive(Clone, Copy)]
struct Window {
    from: Option<u64>,
    to: Option<u64>,
    /// By how much an id may be later than its row.
    late: u64,
}

/// A walk along one index.
pub(super) struct Walk {
    table: &'static str,
    index: &'static str,
    pub(super) filter: Where,
}

impl Walk {
    /// Where it leads.
    pub(super) fn from(&self) -> String {
        let Self {
            table,
            index,
            filter,
        } = self;
        format!("{table} INDEXED BY {index} WHERE {}", filter.sql())
    }

    fn page(&self, columns: &str) -> String {
        format!(
            "SELECT {columns} FROM {} ORDER BY id DESC LIMIT ?",
            self.from()
        )
    }
}

pub(in super::super) fn requests(
    db: &Connection,
    query: &RequestQuery,
) -> Result<Vec<Found>, StoreError> {
    let walk = request_walk(query, query.before_id.as_ref());
    let columns = "id, position, payload, repeats";
    let rows = page(db, vec![walk], columns, query.limit, read::found, |row| {
        &row.id
    })?;
    rows.into_iter().map(|row| read::counted(db, row)).collect()
}

pub(in super::super) fn events(
    db: &Connection,
    query: &EventQuery,
) -> Result<Vec<EventRecord>, StoreError> {
    let walks = event_walks(query, query.before_id.as_ref(), query.status.is_none());
    let event = |row: &Row<'_>| Ok((unpack(row, 0, Kind::Event)?, rows::event(row)?));
    let found = page(db, walks, rows::EVENT, query.limit, event, |row| &row.0)?;
    whole(found.into_iter().map(|(_, event)| event).collect())
}

pub(in super::super) fn attempts(
    db: &Connection,
    query: &AttemptQuery,
) -> Result<Vec<(String, Position)>, StoreError> {
    let walks = attempt_walks(query);
    page(
        db,
        walks,
        "id, position",
        query.limit,
        named_attempt,
        |row| &row.0,
    )
}

/// The newest of several walks.
fn page<T>(
    db: &Connection,
    walks: Vec<Walk>,
    columns: &str,
    limit: u32,
    read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
    id: impl Fn(&T) -> &String,
) -> Result<Vec<T>, StoreError> {
    let limit = limit.clamp(1, MAX_PAGE);
    let mut found = Vec::new();
    for walk in walks {
        let sql = walk.page(columns);
        let mut values = walk.filter.values;
        values.push(Value::Integer(i64::from(limit)));
        found.extend(collect(db, &sql, &values, &read)?);
    }
    found.sort_by(|left, right| id(right).cmp(id(left)));
    found.truncate(limit as usize);
    Ok(found)
}

pub(super) fn request_walk(query: &RequestQuery, before: Option<&String>) -> Walk {
    let mut filter = Where::team(&query.team_id);
    let window = Window {
        from: query.from,
        to: query.to,
        late: LATE_IDS,
    };
    filter.ids(Kind::Request, window, before);
    filter.time("ingested_at >= ?", query.from);
    filter.time("ingested_at < ?", query.to);
    filter.named("source", query.source_id.as_deref());
    filter.text("message_id = ?", query.message_id.as_ref());
    filter.text("event_type = ?", query.event_type.as_ref());
    if let Some(verified) = query.verified {
        filter.push("verified = ?", Value::Integer(verified.into()));
    }
    match query.rejected {
        // As its index says it.
        Some(true) => filter.terms.push("rejected <> 0".to_owned()),
        Some(false) => filter.terms.push("rejected = 0".to_owned()),
        None => {}
    }
    if query.unreplayed {
        filter.terms.push(UNREPLAYED.to_owned());
    }
    let index = if query.message_id.is_some() {
        filter.terms.push(format!("position >> 34 IN ({SEGMENTS})"));
        "request_by_message"
    } else if query.rejected == Some(true) {
        "request_rejected"
    } else if query.source_id.is_some() {
        "request_by_source"
    } else {
        "request_by_team"
    };
    Walk {
        table: "request",
        index,
        filter,
    }
}

/// `sendable`: without branches that nothing was sent to.
pub(super) fn event_walks(
    query: &EventQuery,
    before: Option<&String>,
    sendable: bool,
) -> Vec<Walk> {
    let mut filter = Where::team(&query.team_id);
    let window = Window {
        from: query.from,
        to: query.to,
        late: 0,
    };
    filter.ids(Kind::Event, window, before);
    filter.time("created_at >= ?", query.from);
    filter.time("created_at < ?", query.to);
    let code = |status| codes::status_code(status);
    match query.status {
        // Not a status that is stored: whatever is pending on a paused connection.
        Some(EventStatus::Hold) => filter.among("connection", &query.paused, true),
        Some(status) => {
            filter.terms.push(format!("status = {}", code(status)));
            if is_pending(status) && !query.paused.is_empty() {
                filter.among("connection", &query.paused, false);
            }
        }
        None => {}
    }
    if sendable {
        let cancelled = code(EventStatus::Cancelled);
        filter.terms.push(format!("status <> {cancelled}"));
    }
    filter.named("source", query.source_id.as_deref());
    filter.id("request_id = ?", Kind::Request, query.request_id.as_ref());
    filter.one_of("destination", &query.destination_ids);
    filter.id(
        "operation = ?",
        Kind::BulkOperation,
        query.operation_id.as_ref(),
    );
    if query.unretried {
        // Along `event_by_request`.
        filter.terms.push(UNRETRIED.to_owned());
    }
    if let Some(handler) = query.handler {
        let code = codes::outcome_code(handler);
        filter.terms.push(format!("handler = {code}"));
    }
    let connections = distinct(&query.connection_ids);
    let walk = |index, filter| Walk {
        table: "event",
        index,
        filter,
    };
    let along = if query.request_id.is_some() {
        Some("event_by_request")
    } else if query.operation_id.is_some() {
        Some("event_by_operation")
    } else if query.handler.is_some_and(is_unfinished) {
        // As its index says it.
        filter.terms.push("handler > 2".to_owned());
        Some("event_unfinished")
    } else if query.status == Some(EventStatus::Failed) {
        Some("event_failed")
    } else if query.status.is_some_and(is_pending) {
        // As its index says it; every pending event has a due time.
        filter.terms.push("due_at IS NOT NULL".to_owned());
        Some("event_pending")
    } else {
        None
    };
    match along {
        None if !connections.is_empty() && connections.len() <= MOST_WALKS => {
            let each = connections.iter().map(|connection| {
                let mut filter = filter.clone();
                filter.named("connection", Some(connection));
                walk("event_by_connection", filter)
            });
            each.collect()
        }
        index => {
            filter.one_of("connection", &connections);
            vec![walk(index.unwrap_or("event_by_team"), filter)]
        }
    }
}

/// Whether the index has those by themselves.
const fn is_unfinished(outcome: HandlerOutcome) -> bool {
    codes::outcome_code(outcome) > 2
}

fn attempt_walks(query: &AttemptQuery) -> Vec<Walk> {
    let mut filter = Where::team(&query.team_id);
    let window = Window {
        from: query.from,
        to: query.to,
        late: 0,
    };
    filter.ids(Kind::Attempt, window, query.before_id.as_ref());
    filter.time("started_at >= ?", query.from);
    filter.time("started_at < ?", query.to);
    match query.successful {
        // As its index says it.
        Some(false) => filter.terms.push("successful = 0".to_owned()),
        Some(true) => filter.terms.push("successful <> 0".to_owned()),
        None => {}
    }
    filter.one_of("destination", &query.destination_ids);
    let walk = |index, filter| Walk {
        table: "attempt",
        index,
        filter,
    };
    let events = distinct(&query.event_ids);
    if !events.is_empty() && events.len() <= MOST_WALKS {
        let each = events.iter().map(|event| {
            let mut filter = filter.clone();
            filter.id("event_id = ?", Kind::Event, Some(event));
            walk("attempt_by_event", filter)
        });
        return each.collect();
    }
    filter.one_id_of("event_id", Kind::Event, &events);
    let index = match query.successful {
        Some(false) => "attempt_failed",
        _ => "attempt_by_team",
    };
    vec![walk(index, filter)]
}

fn distinct(values: &[String]) -> Vec<String> {
    let mut values = values.to_vec();
    values.sort_unstable();
    values.dedup();
    values
}

#[cfg(test)]
mod tests;
