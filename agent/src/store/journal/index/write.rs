//! Taking a table into the index, in one transaction with the position that it reflects.

use hookplane_journal::Position;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::compact::{Names, pack};
use super::periods;
use super::rows;
use super::signed;
use super::totals::{self, ACCEPTED, REJECTED, REPEAT, Totals};
use crate::ids::Kind;
use crate::store::journal::entry::Repeat;
use crate::store::journal::table::{Facts, ReportChange, RequestRow, Table};

/// Arrivals of one message that are kept one by one; the rest is counted.
pub(in super::super) const KEPT_REPEATS: u64 = 100;

/// All of it or nothing.
pub(in super::super) fn take(db: &mut Connection, table: &Table) -> rusqlite::Result<()> {
    let transaction = db.transaction()?;
    let mut sums = Totals::default();
    let mut names = Names::default();
    for request in &table.requests {
        put_request(&transaction, request, &mut names, &mut sums)?;
    }
    put_events(&transaction, table, &mut names, &mut sums)?;
    put_stops(&transaction, table)?;
    put_attempts(&transaction, table, &mut names)?;
    put_repeats(&transaction, table, &mut sums)?;
    put_keys(&transaction, table)?;
    for change in &table.reports {
        match change {
            ReportChange::Put(sequence, position) => transaction
                .prepare_cached("INSERT OR REPLACE INTO report VALUES (?1, ?2)")?
                .execute([signed(*sequence), at(*position)])?,
            ReportChange::DropTo(sequence) => transaction
                .prepare_cached("DELETE FROM report WHERE sequence <= ?1")?
                .execute([signed(*sequence)])?,
        };
    }
    totals::put(&transaction, &sums)?;
    put_facts(&transaction, &table.facts, table.resume)?;
    transaction.commit()
}

fn put_request(
    db: &Connection,
    request: &RequestRow,
    names: &mut Names,
    sums: &mut Totals,
) -> rusqlite::Result<()> {
    let id = pack(Kind::Request, &request.id);
    if request.moved {
        let place = (at(request.place.0), request.place.1.map(at));
        let moved = db
            .prepare_cached("UPDATE request SET position = ?2, payload = ?3 WHERE id = ?1")?
            .execute(params![id, place.0, place.1])?;
        // It is not there only while this index is being made again.
        if moved > 0 {
            return Ok(());
        }
    }
    db.prepare_cached(
        "INSERT INTO request (position, payload, id, team, source, ingested_at, rejected,
         verified, message_id, event_type, bytes, repeats, replay_parent, operation)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
    )?
    .execute(params![
        at(request.place.0),
        request.place.1.map(at),
        id,
        names.of(db, &request.team_id)?,
        names.of(db, &request.source_id)?,
        signed(request.ingested_at),
        request.rejected,
        request.verified,
        request.message_id,
        request.event_type,
        signed(request.bytes),
        signed(request.repeats),
        request
            .replay_parent
            .as_ref()
            .map(|parent| pack(Kind::Request, parent)),
        request
            .operation
            .as_ref()
            .map(|id| pack(Kind::BulkOperation, id)),
    ])?;
    let what = if request.rejected { REJECTED } else { ACCEPTED };
    sums.add(&request.team_id, request.ingested_at, what, 1);
    Ok(())
}

fn put_events(
    db: &Connection,
    table: &Table,
    names: &mut Names,
    sums: &mut Totals,
) -> rusqlite::Result<()> {
    let mut put = db.prepare_cached(
        "INSERT INTO event VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9,
         ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24)
         ON CONFLICT (id) DO UPDATE SET status = excluded.status, attempts = excluded.attempts,
         response_status = excluded.response_status, error_code = excluded.error_code,
         failure_message = excluded.failure_message, ignored_reason = excluded.ignored_reason,
         ignored_detail = excluded.ignored_detail, last_attempt_at = excluded.last_attempt_at,
         next_attempt_at = excluded.next_attempt_at, successful_at = excluded.successful_at,
         due_at = excluded.due_at, handler = excluded.handler,
         handler_reason = excluded.handler_reason",
    )?;
    // What never changes is not written again: the indexes on it are left alone.
    // In the order of ids, so that neighbours share pages.
    let mut events: Vec<_> = table.events.values().collect();
    events.sort_unstable_by(|left, right| left.id.cmp(&right.id));
    let mut before = db.prepare_cached("SELECT status FROM event WHERE id = ?1")?;
    let new = table.new_requests();
    for event in events {
        let before = if new.contains(event.request_id.as_str()) {
            None
        } else {
            let status =
                before.query_row([pack(Kind::Event, &event.id)], |row| rows::unsigned(row, 0));
            status.optional()?
        };
        sums.event(event, before);
        rows::put_event(db, &mut put, names, event)?;
    }
    Ok(())
}

fn put_attempts(db: &Connection, table: &Table, names: &mut Names) -> rusqlite::Result<()> {
    let mut put = db.prepare_cached(
        "INSERT OR IGNORE INTO attempt (id, position, team, event_id, destination, successful,
         started_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    for (id, attempt) in &table.attempts {
        put.execute(params![
            pack(Kind::Attempt, id),
            at(attempt.position),
            names.of(db, &attempt.team_id)?,
            pack(Kind::Event, &attempt.event_id),
            names.of(db, &attempt.destination_id)?,
            attempt.successful,
            signed(attempt.started_at),
        ])?;
    }
    let mut put = db.prepare_cached("UPDATE attempt SET position = ?2 WHERE id = ?1")?;
    for (id, position) in &table.moved_attempts {
        put.execute(params![pack(Kind::Attempt, id), at(*position)])?;
    }
    Ok(())
}

fn put_repeats(db: &Connection, table: &Table, sums: &mut Totals) -> rusqlite::Result<()> {
    for repeat in &table.repeats {
        put_repeat(db, repeat)?;
        sums.add(&repeat.team_id, repeat.received_at, REPEAT, 1);
    }
    let mut add = db.prepare_cached("UPDATE request SET repeats = repeats + ?2 WHERE id = ?1")?;
    for (request_id, count) in &table.repeated {
        add.execute(params![pack(Kind::Request, request_id), signed(*count)])?;
    }
    let mut add = db.prepare_cached(
        "INSERT INTO counted VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO UPDATE SET count = count + excluded.count",
    )?;
    for (of, count) in &table.counted {
        add.execute(params![
            of.team_id,
            of.source_id,
            signed(of.minute),
            signed(*count)
        ])?;
    }
    Ok(())
}

fn put_repeat(db: &Connection, repeat: &Repeat) -> rusqlite::Result<()> {
    let names: Vec<&str> = repeat
        .requeued
        .iter()
        .map(|event| event.id.as_str())
        .collect();
    db.prepare_cached(
        "INSERT INTO repeat SELECT ?1, ?2, count(*), ?3, ?4, ?5, ?6 FROM repeat
         WHERE request_id = ?1",
    )?
    .execute(params![
        pack(Kind::Request, &repeat.request_id),
        signed(repeat.received_at),
        repeat.team_id,
        repeat.source_id,
        repeat.client_ip,
        names.join(" "),
    ])?;
    Ok(())
}

fn put_keys(db: &Connection, table: &Table) -> rusqlite::Result<()> {
    let mut put = db.prepare_cached(
        "INSERT INTO dedupe VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE SET
         request_id = excluded.request_id, expires_at = excluded.expires_at,
         position = excluded.position WHERE excluded.expires_at >= dedupe.expires_at",
    )?;
    let mut keys: Vec<_> = table.keys.iter().collect();
    if keys.is_empty() {
        return Ok(());
    }
    keys.sort_unstable_by_key(|(key, _)| **key);
    let period = periods::current(db)?;
    let latest = keys.iter().map(|(_, row)| row.expires_at).max();
    periods::grow(db, period, keys.len() as i64, latest.unwrap_or(0))?;
    for (key, row) in keys {
        put.execute(params![
            period,
            key.as_slice(),
            pack(Kind::Request, &row.request_id),
            signed(row.expires_at),
            at(row.position)
        ])?;
    }
    Ok(())
}

pub(in super::super) fn put_facts(
    db: &Connection,
    facts: &Facts,
    resume: Option<Position>,
) -> rusqlite::Result<()> {
    let mut put = db.prepare_cached("INSERT OR REPLACE INTO fact VALUES (?1, ?2)")?;
    let backlog = facts.backlog;
    let values = [
        ("number", facts.number.map(u64::from)),
        ("last_report", Some(facts.last_report)),
        ("acknowledged", Some(facts.acknowledged)),
        ("scheduled", Some(backlog.scheduled)),
        ("queued", Some(backlog.queued)),
        ("hold", Some(backlog.hold)),
        ("latest_expiry", Some(facts.latest_expiry)),
        ("bytes", Some(facts.kept.bytes)),
        ("rejected_bytes", Some(facts.kept.rejected)),
        ("told_at", Some(facts.told_at)),
        ("resume", resume.map(Position::to_u64)),
    ];
    for (name, value) in values {
        if let Some(value) = value {
            put.execute(params![name, signed(value)])?;
        }
    }
    Ok(())
}

/// Connections whose pending events stop, and what became pending on them afterwards.
fn put_stops(db: &Connection, table: &Table) -> rusqlite::Result<()> {
    for (connection_id, stop) in &table.stops {
        db.prepare_cached("INSERT OR REPLACE INTO stopping VALUES (?1, ?2, ?3)")?
            .execute(params![connection_id, stop.detail, at(stop.position)])?;
        db.prepare_cached("DELETE FROM spared WHERE connection_id = ?1")?
            .execute([connection_id])?;
    }
    let mut put = db.prepare_cached("INSERT OR REPLACE INTO spared VALUES (?1, ?2)")?;
    for (connection_id, event_id) in &table.spared {
        put.execute(params![connection_id, pack(Kind::Event, event_id)])?;
    }
    Ok(())
}

/// Takes something off a running count, whatever it is by now.
pub(super) fn lower_fact(db: &Connection, name: &str, by: u64) -> rusqlite::Result<()> {
    if by > 0 {
        db.prepare_cached("UPDATE fact SET value = max(value - ?2, 0) WHERE name = ?1")?
            .execute(params![name, signed(by)])?;
    }
    Ok(())
}

fn at(position: Position) -> i64 {
    signed(position.to_u64())
}
