//! The plan of every step, and that it does not grow with what the operation made.

use super::*;

fn plan(db: &Connection, sql: &str) -> Vec<String> {
    let mut explain = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let values = vec![Value::Integer(1); explain.parameter_count()];
    let steps = explain.query_map(rusqlite::params_from_iter(values), |row| row.get(3));
    steps.unwrap().collect::<Result<_, _>>().unwrap()
}

/// Ends where it should, and looks up children along those of the row.
fn begins_behind_the_last_target(db: &Connection, mut walk: Walk, kind: Kind, children: &str) {
    walk.filter.id("id > ?", kind, Some(&"evt_x".to_owned()));
    let sql = sql(&walk, children);
    let steps = plan(db, &sql);
    let bad = |step: &String| step.contains("SCAN") || step.contains("TEMP B-TREE");
    assert!(!steps.iter().any(bad), "{steps:?}\n{sql}");
    let by_operation = |step: &String| step.contains("by_operation");
    assert!(!steps.iter().any(by_operation), "{steps:?}\n{sql}");
    // Of two lower bounds SQLite may take the first, which is where the operation began.
    let lower = sql.matches("id > ?").count() + sql.matches("id >= ?").count();
    assert_eq!(lower, 1, "{sql}");
}

#[test]
fn a_step_takes_as_long_at_the_end_of_an_operation_as_at_its_beginning() {
    let dir = tempfile::tempdir().unwrap();
    let (db, _) = super::super::open(&dir.path().join("index.db")).unwrap();
    for bits in 0..16_u32 {
        let some = |bit: u32| (bits >> bit & 1 == 1).then(|| "x".to_owned());
        let after = Some("evt_x".to_owned());
        let events = EventQuery {
            from: Some(1_000),
            to: some(0).map(|_| 2_000),
            team_id: "tm_1".into(),
            status: Some(EventStatus::Failed),
            source_id: some(1),
            connection_ids: some(2).into_iter().collect(),
            destination_ids: some(3).into_iter().collect(),
            ..EventQuery::default()
        };
        for walk in event_walks(&behind_events(&events, after.as_ref()), None, false) {
            begins_behind_the_last_target(&db, walk, Kind::Event, CHILD_EVENTS);
        }
        let requests = RequestQuery {
            from: Some(1_000),
            to: some(0).map(|_| 2_000),
            team_id: "tm_1".into(),
            source_id: some(1),
            rejected: some(2).map(|_| true),
            event_type: some(3),
            ..RequestQuery::default()
        };
        let walk = request_walk_behind(&requests, after.as_ref());
        begins_behind_the_last_target(&db, walk, Kind::Request, CHILD_REQUESTS);
    }
}
