//! Stopping a connection with many events: at once for who sends, bit by bit in the index.

use hookplane_journal::io::simulated::SimulatedDisk;
use std::collections::HashSet;

use super::super::index;
use super::*;

const SEGMENT: u32 = 4 << 20;
const GONE: &str = "web_des_gone";

async fn accept_for(store: &JournalStore, at: u64, destination: &str) -> EventRecord {
    let one = request(at, None, 10);
    let branch = event(&one, destination);
    let new = new(&one, vec![branch.clone()]);
    store.append(new, IDS).await.unwrap();
    branch
}

async fn due_ids(store: &JournalStore, destination: &str) -> Vec<String> {
    let due = store.due(lane_due(destination, 1_000_000, 255)).await;
    due.unwrap()
        .into_iter()
        .map(|due| due.event.id.clone())
        .collect()
}

#[tokio::test]
async fn a_large_connection_is_stopped_whole_and_no_other() {
    let (disk, dir) = (SimulatedDisk::new(1), tempfile::tempdir().unwrap());
    let store = on_disk(&disk, dir.path(), &options(SEGMENT));
    for at in 0..4_500 {
        accept_for(&store, 1_000 + at, "des_gone").await;
    }
    let stays = accept_for(&store, 9_000, "des_stays").await;
    assert_eq!(store.cancel_pending(GONE, "gone").await.unwrap(), 4_500);
    assert_eq!(
        store.pending_connections().await.unwrap(),
        [stays.connection_id]
    );
    assert_eq!(due_ids(&store, "des_stays").await, [stays.id]);
    assert_eq!(store.backlog(&HashSet::new()).await.unwrap().queued, 1);
    assert_eq!(store.imbalance().await.unwrap(), 0);
}

#[tokio::test]
async fn from_its_record_on_nothing_is_given_out_and_what_comes_after_it_stays() {
    let (disk, dir) = (SimulatedDisk::new(1), tempfile::tempdir().unwrap());
    let store = on_disk(&disk, dir.path(), &options(SEGMENT));
    let mut old = Vec::new();
    // More than one slice, so that the index takes in what comes between two of them.
    for at in 0..2_200 {
        old.push(accept_for(&store, 1_000 + at, "des_gone").await);
    }
    let delivered = completion(&old[1], EventStatus::Successful, None);
    store.event(TEAM, &old[0].id).await.unwrap().unwrap();
    // One that ended before the record, while the index cannot be told.
    let lock = lock_index(dir.path());
    store.complete(delivered).await.unwrap();
    let mut stopping = tokio::task::JoinSet::new();
    stopping.spawn({
        let store = store.clone();
        async move { store.cancel_pending(GONE, "gone").await }
    });
    until("memory knows", async || {
        store.pending_lanes().await.unwrap().is_empty()
    })
    .await;
    // A try that was under way, and a request that comes afterwards.
    let late = completion(&old[2], EventStatus::Successful, None);
    store.complete(late).await.unwrap();
    let after = accept_for(&store, 9_000, "des_gone").await;
    let due = due_ids(&store, "des_gone").await;
    assert_eq!(due, std::slice::from_ref(&after.id));
    assert_eq!(
        store.backlog(&HashSet::new()).await.unwrap().queued,
        1 + 2_198
    );
    // Somebody asks, so that the index takes it in between two slices.
    let end = shared(&store).journal.end().unwrap().to_u64();
    let mut asking = tokio::task::JoinSet::new();
    asking.spawn({
        let (store, id) = (store.clone(), after.id.clone());
        async move { store.event(TEAM, &id).await }
    });
    until("it is asked", async || {
        shared(&store).progress.wanted() >= end
    })
    .await;
    drop(lock);
    for stopped in stopping.join_all().await {
        stopped.unwrap();
    }
    until("the slices are through", async || {
        store.backlog(&HashSet::new()).await.unwrap().queued == 1
    })
    .await;
    let status = async |event: &EventRecord| {
        let found = store.event(TEAM, &event.id).await.unwrap().unwrap();
        (found.status, found.attempts)
    };
    assert_eq!(status(&old[0]).await, (EventStatus::Cancelled, 0));
    assert_eq!(status(&old[1]).await, (EventStatus::Successful, 1));
    assert_eq!(status(&old[2]).await, (EventStatus::Cancelled, 1));
    assert_eq!(status(&after).await, (EventStatus::Queued, 0));
    assert_eq!(due_ids(&store, "des_gone").await, [after.id]);
    assert_eq!(store.imbalance().await.unwrap(), 0);
}

#[tokio::test]
async fn what_a_run_did_not_finish_stopping_the_next_one_does() {
    let (disk, dir) = (SimulatedDisk::new(1), tempfile::tempdir().unwrap());
    let store = on_disk(&disk, dir.path(), &options(SEGMENT));
    let mut old = Vec::new();
    for at in 0..20 {
        old.push(accept_for(&store, 1_000 + at, "des_gone").await);
    }
    store.close().await;
    drop(store);
    // As a crash after the first slice leaves it, with one that came after the record.
    let mut file = rusqlite::Connection::open(dir.path().join("index.db")).unwrap();
    file.execute("INSERT INTO stopping VALUES (?1, 'gone', 1)", [GONE])
        .unwrap();
    let spared = index::compact::pack(Kind::Event, &old[3].id);
    file.execute("INSERT INTO spared VALUES (?1, ?2)", (GONE, spared))
        .unwrap();
    index::stop::slice(&mut file, GONE, "gone", 5).unwrap();
    drop(file);

    let store = on_disk(&disk, dir.path(), &options(SEGMENT));
    assert_eq!(due_ids(&store, "des_gone").await, [old[3].id.clone()]);
    until("the slices are through", async || {
        store.backlog(&HashSet::new()).await.unwrap().queued == 1
    })
    .await;
    assert_eq!(due_ids(&store, "des_gone").await, [old[3].id.clone()]);
    assert_eq!(store.imbalance().await.unwrap(), 0);
    assert_eq!(store.cancel_pending(GONE, "gone").await.unwrap(), 1);
    assert!(store.pending_connections().await.unwrap().is_empty());
}
