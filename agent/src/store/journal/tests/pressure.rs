//! A volume that is used up, an index that cannot be written, and space that comes back.

use hookplane_journal::io::simulated::SimulatedDisk;

use super::super::follow::Order;
use super::*;
use crate::store::{RequestQuery, StoreError};

const SEGMENT: u32 = 64 << 10;

fn with_volume(disk: &SimulatedDisk, folder: &Path, most: u64) -> JournalStore {
    let index = folder.join("index.db");
    JournalStore::open_on(disk.directory(), &index, &options(SEGMENT), most).unwrap()
}

/// Requests for a destination that takes nothing.
async fn waiting(store: &JournalStore, count: u64) -> Vec<EventRecord> {
    let mut branches = Vec::new();
    for at in 0..count {
        let one = request(100 + at, None, 1_000);
        let branch = event(&one, "des_dead");
        until("the request is stored", async || {
            let new = new(&one, vec![branch.clone()]);
            store.append(new, IDS).await.is_ok()
        })
        .await;
        branches.push(branch);
    }
    branches
}

#[tokio::test]
async fn a_few_pending_requests_do_not_make_a_full_volume_refuse_everything() {
    let (disk, dir) = (SimulatedDisk::new(1), tempfile::tempdir().unwrap());
    let most = 4 << 20;
    let store = with_volume(&disk, dir.path(), most);
    // More than one look at the oldest requests.
    let dead = waiting(&store, 140).await;
    // Three volumes of it.
    for at in 0..600 {
        deliver(&store, 10_000 + at, 20_000).await;
    }
    until("the volume is kept", async || {
        store.parts().bytes_kept() <= most
    })
    .await;
    let due = store.due(lane_due("des_dead", 100_000, 255)).await.unwrap();
    let ids: Vec<_> = due.iter().map(|due| due.event.id.clone()).collect();
    let expected: Vec<_> = dead.iter().map(|event| event.id.clone()).collect();
    assert_eq!(ids, expected, "what is pending is not whole any more");
    assert_eq!(store.imbalance().await.unwrap(), 0);
}

#[tokio::test]
async fn a_small_volume_that_is_mostly_pending_is_not_moved_for_ever() {
    let (disk, dir) = (SimulatedDisk::new(1), tempfile::tempdir().unwrap());
    let store = with_volume(&disk, dir.path(), u64::MAX);
    // Three in four wait, in about nine segments.
    for at in 0..40 {
        if at % 4 == 0 {
            deliver(&store, 10_000 + at, 14_000).await;
        } else {
            accept(&store, 10_000 + at, 14_000).await;
        }
    }
    store.close().await;
    let besides = store.parts().bytes_kept() - store.parts().journal.size_on_disk();
    drop(store);
    // What waits takes seven or eight segments: about three quarters of these.
    let most = besides + 10 * u64::from(SEGMENT);
    let store = with_volume(&disk, dir.path(), most);
    until("the store says that it is full", async || {
        let one = request(20_000, None, 14_000);
        let refused = store.append(new(&one, Vec::new()), IDS).await;
        store.retain(1, 1, 10).await.ok();
        matches!(refused, Err(StoreError::Busy))
    })
    .await;
    let written = || store.parts().journal.figures().written_bytes;
    until("nothing is moved any more", async || {
        let before = written();
        for _ in 0..50 {
            store.retain(1, 1, 10).await.unwrap();
        }
        written() - before < u64::from(SEGMENT)
    })
    .await;
    // Deliveries make room again.
    until("the store has room again", async || {
        for due in store.due(lane_due("des_1", 1_000_000, 5)).await.unwrap() {
            let done = completion(&due.event, EventStatus::Successful, None);
            store.complete(done).await.unwrap();
        }
        store.retain(1, 1, 10).await.ok();
        let one = request(30_000, None, 10);
        store.append(new(&one, Vec::new()), IDS).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn what_is_delivered_between_pending_requests_makes_room_while_they_are_half_of_it() {
    let (disk, dir) = (SimulatedDisk::new(1), tempfile::tempdir().unwrap());
    let most = 4 << 20;
    let store = with_volume(&disk, dir.path(), most);
    let mut pending = 0;
    for at in 0..500 {
        // Two fifths of the volume wait, spread over all segments.
        if at % 3 == 0 && pending < 80 {
            accept(&store, 10_000 + at, 20_000).await;
            pending += 1;
        } else {
            deliver(&store, 10_000 + at, 20_000).await;
        }
    }
    let due = store.due(lane_due("des_1", 100_000, 255)).await.unwrap();
    assert_eq!(due.len(), pending, "what is pending is not whole any more");
    assert_eq!(store.imbalance().await.unwrap(), 0);
}

#[tokio::test]
async fn deliveries_go_on_while_the_index_cannot_be_written_and_upkeep_is_asked_for() {
    let (disk, dir) = (SimulatedDisk::new(1), tempfile::tempdir().unwrap());
    let store = on_disk(&disk, dir.path(), &options(4 << 20));
    let gone = waiting(&store, 20).await;
    for at in 0..1_500 {
        let one = request(1_000 + at, None, 10);
        let branch = event(&one, "des_1");
        store.append(new(&one, vec![branch]), IDS).await.unwrap();
    }
    // The index knows them.
    store.event(TEAM, &gone[0].id).await.unwrap().unwrap();
    let lock = lock_index(dir.path());
    let mut asked = tokio::task::JoinSet::new();
    let (one, other) = (store.clone(), store.clone());
    asked.spawn(async move { drop(one.retain(5_000, 5_000, 200).await) });
    asked.spawn(async move { drop(other.cancel_pending("web_des_dead", "gone").await) });
    let mut sent = 0;
    until("all is sent", async || {
        for due in store.due(lane_due("des_1", 1_000_000, 255)).await.unwrap() {
            let done = completion(&due.event, EventStatus::Successful, None);
            store.complete(done).await.unwrap();
            sent += 1;
        }
        sent >= 1_500
    })
    .await;
    assert!(
        store
            .due(lane_due("des_dead", 1_000_000, 255))
            .await
            .unwrap()
            .is_empty(),
        "what is stopped is given out"
    );
    drop(lock);
    asked.join_all().await;
    until("the deliveries are in the index", async || {
        store.retain(5_000, 5_000, 5_000).await.is_ok()
    })
    .await;
    assert_eq!(sent, 1_500, "something was sent twice");
    assert_eq!(store.imbalance().await.unwrap(), 0);
}

#[tokio::test]
async fn an_index_that_was_large_gives_its_space_back() {
    let (disk, dir) = (SimulatedDisk::new(1), tempfile::tempdir().unwrap());
    let store = on_disk(&disk, dir.path(), &options(4 << 20));
    for at in 0..2_500 {
        let one = request(1_000 + at, None, 10);
        let branches = vec![event(&one, "des_1"), event(&one, "des_2")];
        store.append(new(&one, branches), IDS).await.unwrap();
    }
    store.cancel_pending("web_des_1", "gone").await.unwrap();
    store.cancel_pending("web_des_2", "gone").await.unwrap();
    // The pages there are, in the log or in the file.
    let file = rusqlite::Connection::open(dir.path().join("index.db")).unwrap();
    let pages = || {
        let count = file.pragma_query_value(None, "page_count", |row| row.get::<_, i64>(0));
        count.unwrap()
    };
    let before = pages();
    until("all is deleted", async || {
        store.retain(50_000, 50_000, 5_000).await.unwrap() == 0
    })
    .await;
    until("the file has shrunk", async || pages() < before / 2).await;
}

#[tokio::test]
async fn a_disk_that_takes_no_record_is_emptied_by_age() {
    let (disk, dir) = (SimulatedDisk::new(1), tempfile::tempdir().unwrap());
    let mut options = options(SEGMENT);
    options.journal.reserve = false;
    disk.set_capacity(8 * u64::from(SEGMENT));
    let store = on_disk(&disk, dir.path(), &options);
    store.set_store_number(7).await.unwrap();
    // Nothing tells number and last report again before the last block is taken.
    let late = hold_up_follower(&store);
    let mut at = 100;
    for body in [10_000, 10] {
        loop {
            at += 1;
            let one = request(at, None, body);
            if store.append(new(&one, Vec::new()), IDS).await.is_err() {
                break;
            }
        }
    }
    drop(late);
    until("there is room again", async || {
        drop(store.retain(5_000, 5_000, 1_000).await);
        let one = request(10_000, None, 10_000);
        store.append(new(&one, Vec::new()), IDS).await.is_ok()
    })
    .await;
    store.close().await;
    drop(store);
    super::super::index::remove(&dir.path().join("index.db")).unwrap();
    let store = on_disk(&disk, dir.path(), &options);
    assert_eq!(store.store_number().await.unwrap(), Some(7));
}

#[tokio::test]
async fn age_takes_what_stands_behind_a_long_backlog_and_what_is_delivered_later() {
    let (disk, dir) = (SimulatedDisk::new(1), tempfile::tempdir().unwrap());
    let store = on_disk(&disk, dir.path(), &options(4 << 20));
    let pending = waiting(&store, 1_200).await;
    for at in 0..300 {
        deliver(&store, 2_000 + at, 10).await;
    }
    assert_eq!(store.retain(5_000, 5_000, 1_000).await.unwrap(), 300);
    let done = completion(&pending[7], EventStatus::Successful, None);
    store.complete(done).await.unwrap();
    until("the next round finds it", async || {
        store.retain(5_000, 5_000, 1_000).await.unwrap();
        let found = store.request(TEAM, &pending[7].request_id).await;
        found.unwrap().is_none()
    })
    .await;
    assert_eq!(store.imbalance().await.unwrap(), 0);
}

#[tokio::test]
async fn an_idle_store_whose_index_met_a_full_disk_finds_out_that_there_is_room() {
    let (disk, dir) = (SimulatedDisk::new(1), tempfile::tempdir().unwrap());
    let store = on_disk(&disk, dir.path(), &options(SEGMENT));
    deliver(&store, 10, 100).await;
    shared(&store).indexed().await.unwrap();
    let (told, heard) = sync_channel(1);
    let found = Order::FindIndexFull(told);
    store.handle.orders.send(found).unwrap();
    shared(&store).progress.raise();
    heard.recv().unwrap();
    let one = request(20, None, 100);
    until("requests are taken again", async || {
        store.append(new(&one, Vec::new()), IDS).await.is_ok()
    })
    .await;
    let kept = store.requests(
        RequestQuery {
            team_id: TEAM.into(),
            limit: 10,
            ..Default::default()
        },
        false,
    );
    assert_eq!(
        kept.await.unwrap().len(),
        2,
        "evidence went although there is room"
    );
}

#[tokio::test]
async fn a_table_that_is_full_while_the_index_fails_refuses_requests_and_takes_completions() {
    let (disk, dir) = (SimulatedDisk::new(1), tempfile::tempdir().unwrap());
    let store = on_disk(&disk, dir.path(), &options(4 << 20));
    let lock = lock_index(dir.path());
    let mut accepted = Vec::new();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        assert!(tokio::time::Instant::now() < deadline, "nothing is refused");
        // One table is with the indexer, the other grows.
        let one = request(100 + accepted.len() as u64, None, 10);
        let branch = event(&one, "des_1");
        match store.append(new(&one, vec![branch.clone()]), IDS).await {
            Ok(_) => accepted.push(branch),
            Err(StoreError::Busy) => break,
            Err(error) => panic!("{error}"),
        }
        if accepted.len() > 700 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    for branch in &accepted[..100] {
        let done = completion(branch, EventStatus::Successful, None);
        store.complete(done).await.unwrap();
    }
    let (seen, last) = (shared(&store), accepted[99].id.clone());
    until("the ends are folded", async || {
        !seen.pending().is_unapplied(&last)
    })
    .await;
    drop(lock);
    let one = request(100_000, None, 10);
    until("requests are taken again", async || {
        store.append(new(&one, Vec::new()), IDS).await.is_ok()
    })
    .await;
    assert_eq!(store.imbalance().await.unwrap(), 0);
}
