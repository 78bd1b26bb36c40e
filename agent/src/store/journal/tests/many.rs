//! Many branches at once, each with more that waits than memory holds.

use std::collections::HashSet;

use hookplane_journal::io::simulated::SimulatedDisk;

use super::*;

#[tokio::test]
async fn after_a_restart_every_one_of_many_branches_is_given_its_events() {
    const LANES: usize = 60;
    const EACH: usize = 700;
    let (disk, dir) = (SimulatedDisk::new(1), tempfile::tempdir().unwrap());
    let options = options(16 << 20);
    let store = on_disk(&disk, dir.path(), &options);
    let mut tasks = tokio::task::JoinSet::new();
    for at in 0..EACH as u64 {
        let one = request(1_000 + at, None, 10);
        let lanes = (0..LANES).map(|lane| event(&one, &format!("des_{lane}")));
        let (store, new) = (store.clone(), new(&one, lanes.collect()));
        tasks.spawn(async move { store.append(new, IDS).await.unwrap() });
    }
    tasks.join_all().await;
    store.close().await;
    drop(store);

    let store = on_disk(&disk, dir.path(), &options);
    for lane in 0..LANES {
        // A look waits a second at most, in which a busy machine may not have filled memory.
        until("the branch is given its events", async || {
            let due = lane_due(&format!("des_{lane}"), 1_000_000, 200);
            store.due(due).await.unwrap().len() == 200
        })
        .await;
    }
    // One of them is emptied while nobody takes anything from the others.
    let mut sent = HashSet::new();
    while sent.len() < EACH {
        let mut due = Vec::new();
        until("more of them is due", async || {
            due = store.due(lane_due("des_7", 1_000_000, 200)).await.unwrap();
            !due.is_empty()
        })
        .await;
        let mut ends = tokio::task::JoinSet::new();
        for due in due {
            assert!(sent.insert(due.event.id.clone()), "sent twice");
            let done = completion(&due.event, EventStatus::Successful, None);
            let store = store.clone();
            ends.spawn(async move { store.complete(done).await.unwrap() });
        }
        ends.join_all().await;
    }
    assert_eq!(store.pending_lanes().await.unwrap().len(), LANES - 1);
}

#[tokio::test]
async fn a_row_that_does_not_read_back_does_not_hide_those_behind_it() {
    let (disk, dir) = (SimulatedDisk::new(1), tempfile::tempdir().unwrap());
    let store = on_disk(&disk, dir.path(), &options(4 << 20));
    let mut branches = Vec::new();
    for at in 0..1_000 {
        branches.push(accept(&store, 1_000 + at, 10).await.1);
    }
    store.close().await;
    drop(store);
    let db = rusqlite::Connection::open(dir.path().join("index.db")).unwrap();
    // A whole page of them: no status has this code.
    db.execute(
        "UPDATE event SET status = 99 WHERE id IN (SELECT id FROM event ORDER BY id LIMIT 900)",
        [],
    )
    .unwrap();
    drop(db);
    let store = on_disk(&disk, dir.path(), &options(4 << 20));
    let due = store.due(lane_due("des_1", 1_000_000, 255)).await.unwrap();
    assert_eq!(due.len(), 100, "what is whole is not sent");
}
