//! The plan of every page, for every set of filters.

use super::*;

/// What SQLite means to do.
fn plan(db: &Connection, sql: &str) -> Vec<String> {
    let mut explain = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let count = explain.parameter_count();
    let values = vec![Value::Text("1".into()); count];
    let steps = explain.query_map(rusqlite::params_from_iter(values), |row| row.get(3));
    steps.unwrap().collect::<Result<_, _>>().unwrap()
}

fn walks_only(db: &Connection, sql: &str) {
    // Of one message there are few, and they are found period by period.
    let sorts = sql.contains("period");
    for step in plan(db, sql) {
        // The periods themselves are computed, and lists of names are parameters.
        let of_the_question = step == "SCAN period" || step.starts_with("SCAN json_each");
        let scans = step.contains("SCAN") && !of_the_question;
        let bad = scans || (step.contains("TEMP B-TREE") && !sorts);
        assert!(!bad, "{step}\n{sql}");
    }
}

fn maybe(bits: u32, bit: u32) -> Option<String> {
    (bits >> bit & 1 == 1).then(|| "x".to_owned())
}

fn some(bits: u32, bit: u32) -> Vec<String> {
    maybe(bits, bit).map_or(Vec::new(), |one| vec![one, "y".into()])
}

#[test]
fn no_page_reads_more_than_a_walk_along_an_index() {
    let dir = tempfile::tempdir().unwrap();
    let (db, _) = super::super::open(&dir.path().join("index.db")).unwrap();
    let statuses = [
        None,
        Some(EventStatus::Queued),
        Some(EventStatus::Failed),
        Some(EventStatus::Successful),
    ];
    for bits in 0..256 {
        let number = |bit: u32| (bits >> bit & 1 == 1).then_some(1_000);
        let query = RequestQuery {
            team_id: "tm_1".into(),
            from: number(0),
            to: number(1),
            rejected: number(2).map(|_| bits & 1 == 0),
            source_id: maybe(bits, 3),
            verified: number(4).map(|_| true),
            message_id: maybe(bits, 5),
            event_type: maybe(bits, 6),
            unreplayed: number(7).is_some(),
            before_id: maybe(bits, 7),
            limit: 10,
        };
        let walk = request_walk(&query, query.before_id.as_ref());
        walks_only(&db, &walk.page("id, position, payload, repeats"));
        for status in statuses {
            let query = EventQuery {
                team_id: "tm_1".into(),
                from: number(0),
                to: number(1),
                status,
                source_id: maybe(bits, 2),
                connection_ids: some(bits, 3),
                destination_ids: some(bits, 4),
                request_id: maybe(bits, 5),
                operation_id: maybe(bits, 2),
                handler: None,
                unretried: number(7).is_some(),
                paused: some(bits, 1).into_iter().collect(),
                before_id: maybe(bits, 6),
                limit: 10,
            };
            for walk in event_walks(&query, query.before_id.as_ref(), status.is_none()) {
                walks_only(&db, &walk.page(rows::EVENT));
            }
        }
        let query = AttemptQuery {
            team_id: "tm_1".into(),
            from: number(0),
            to: number(1),
            successful: number(2).map(|_| bits & 8 == 0),
            event_ids: some(bits, 4),
            destination_ids: some(bits, 5),
            before_id: maybe(bits, 6),
            limit: 10,
        };
        for walk in attempt_walks(&query) {
            walks_only(&db, &walk.page("id, position"));
        }
    }
}

#[test]
fn what_is_due_and_what_belongs_to_a_request_is_looked_up_without_a_scan() {
    let dir = tempfile::tempdir().unwrap();
    let (db, _) = super::super::open(&dir.path().join("index.db")).unwrap();
    for sql in [
        "SELECT * FROM event WHERE destination = (SELECT number FROM name WHERE text = ?)
         AND connection = (SELECT number FROM name WHERE text = ?) AND due_at IS NOT NULL
         AND (due_at, id) >= (?, ?) ORDER BY due_at, id LIMIT ?",
        "SELECT connection, destination, due_at, id FROM event WHERE due_at IS NOT NULL
         AND (connection, destination) > (?1, ?2)
         ORDER BY connection, destination, due_at, id LIMIT 1",
        "SELECT * FROM event WHERE request_id = ? ORDER BY id DESC LIMIT 9",
        "SELECT count(*) FROM event JOIN attempt ON event_id = event.id WHERE request_id = ?",
        "SELECT * FROM repeat WHERE request_id = ? ORDER BY received_at DESC, place DESC LIMIT 9",
        read::KNOWN,
        "UPDATE event SET due_at = NULL WHERE connection = ?1 AND due_at IS NOT NULL",
        "DELETE FROM attempt WHERE event_id IN (SELECT id FROM event WHERE request_id = ?1)",
        "DELETE FROM event WHERE request_id = ?1",
        "DELETE FROM repeat WHERE request_id = ?1",
        "SELECT what, sum(count) FROM total WHERE team_id = ?1 AND minute >= ?2 AND minute < ?3",
    ] {
        walks_only(&db, sql);
    }
}
