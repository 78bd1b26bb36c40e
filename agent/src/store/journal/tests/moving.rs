//! Segments that are given up, and what is moved out of them.

use hookplane_journal::io::simulated::SimulatedDisk;

use super::*;
use crate::store::{Appended, StoreError};

const SEGMENT: u32 = 64 << 10;

fn oldest(store: &JournalStore) -> u32 {
    store.parts().journal.oldest().map_or(0, |at| at.segment)
}

async fn place(store: &JournalStore, id: &str) -> hookplane_journal::Position {
    let id = id.to_owned();
    let found = store
        .ask(move |db, _| super::super::index::read::place(db, &id))
        .await;
    found.unwrap().expect("it is there").0
}

#[tokio::test]
async fn old_segments_go_and_what_is_pending_or_known_in_them_is_moved() {
    let (disk, dir) = (SimulatedDisk::new(1), tempfile::tempdir().unwrap());
    let store = on_disk(&disk, dir.path(), &options(SEGMENT));
    store.set_store_number(7).await.unwrap();
    assert_eq!(store.spool_report(b"waits".to_vec()).await.unwrap(), 1);
    let waiting = request(10, Some("msg_waits"), 1_000);
    let branch = event(&waiting, "des_slow");
    store
        .append(new(&waiting, vec![branch.clone()]), IDS)
        .await
        .unwrap();
    let tried = completion(&branch, EventStatus::Scheduled, Some(50));
    store.complete(tried).await.unwrap();
    let other = request(11, None, 1_000);
    let branches = vec![event(&other, "des_other")];
    store.append(new(&other, branches), IDS).await.unwrap();
    let known = request(11, Some("msg_known"), 1_000);
    store.append(new(&known, Vec::new()), IDS).await.unwrap();
    for at in 0..30 {
        let (_, done) = accept(&store, 100 + at, 20_000).await;
        let done = completion(&done, EventStatus::Successful, None);
        store.complete(done).await.unwrap();
    }
    accept(&store, 10_000, 100).await;
    // By a clock that jumps: no reason to forget a message.
    accept(&store, 10 * LONG, 100).await;
    let segments = shared(&store).journal.segments().len();
    assert!(segments > 8, "{segments}");

    // A record about one of them is on its way.
    let hold = shared(&store).doors.hold(&waiting.id).unwrap();
    until("the other one is moved", async || {
        store.retain(5_000, 5_000, 200).await.unwrap();
        place(&store, &other.id).await.segment > 1
    })
    .await;
    let held = place(&store, &waiting.id).await.segment;
    assert_eq!(held, 1, "a request was moved that is about to change");
    drop(hold);
    until("the old segments are given up", async || {
        store.retain(5_000, 5_000, 200).await.unwrap();
        shared(&store).journal.segments().len() <= 3
    })
    .await;
    still_there(&store, &waiting, &known).await;
    store.close().await;
    drop(store);
    super::super::index::remove(&dir.path().join("index.db")).unwrap();
    let store = on_disk(&disk, dir.path(), &options(SEGMENT));
    still_there(&store, &waiting, &known).await;
    assert_eq!(store.spool_report(b"next".to_vec()).await.unwrap(), 2);
}

/// What was pending, known or waiting when its segment went.
async fn still_there(store: &JournalStore, waiting: &RequestRecord, known: &RequestRecord) {
    let due = store.due(lane_due("des_slow", 50, 5)).await.unwrap();
    assert_eq!(due.len(), 1, "a pending event was lost");
    assert_eq!((&*due[0].request, due[0].event.attempts), (waiting, 1));
    let history = store.history(TEAM, &waiting.id).await.unwrap().unwrap();
    assert_eq!(history.attempts.len(), 1, "its try was lost");
    let again = request(20_000, Some("msg_known"), 10);
    let again = store.append(new(&again, Vec::new()), IDS).await.unwrap();
    let Appended::Repeat {
        first_request_id, ..
    } = again
    else {
        panic!("a message was forgotten")
    };
    assert_eq!(first_request_id, known.id);
    assert_eq!(store.store_number().await.unwrap(), Some(7));
    let reports = store.spooled_reports(0, 5).await.unwrap();
    assert_eq!(reports.len(), 1);
    assert_eq!(
        (reports[0].sequence, &reports[0].payload[..]),
        (1, &b"waits"[..])
    );
    assert_eq!(store.imbalance().await.unwrap(), 0);
}

#[tokio::test]
async fn past_the_volume_evidence_goes_early_and_a_backlog_refuses_new_requests() {
    let (disk, dir) = (SimulatedDisk::new(1), tempfile::tempdir().unwrap());
    let index = dir.path().join("index.db");
    let most = 3 << 20;
    let store = JournalStore::open_on(disk.directory(), &index, &options(SEGMENT), most).unwrap();
    for at in 0..300 {
        let (_, branch) = accept(&store, 100 + at, 20_000).await;
        let done = completion(&branch, EventStatus::Successful, None);
        store.complete(done).await.unwrap();
    }
    until("delivered requests went early", async || {
        store.parts().bytes_kept() <= most
    })
    .await;
    assert!(oldest(&store) > 1);

    let mut pending = Vec::new();
    // A follower that is behind refuses, too, but a probe does not complain of that.
    while store.probe(1).await.is_ok() {
        assert!(pending.len() < 1_000, "the volume has no bound");
        let one = request(1_000 + pending.len() as u64, None, 20_000);
        let branch = event(&one, "des_1");
        match store.append(new(&one, vec![branch.clone()]), IDS).await {
            Ok(_) => pending.push(branch),
            Err(StoreError::Busy) => tokio::time::sleep(Duration::from_millis(1)).await,
            Err(error) => panic!("{error:?}"),
        }
    }
    let one = request(5_000, None, 1_000);
    let refused = store.append(new(&one, Vec::new()), IDS).await;
    assert!(matches!(refused, Err(StoreError::Busy)), "{refused:?}");
    for branch in &pending {
        let done = completion(branch, EventStatus::Successful, None);
        store.complete(done).await.unwrap();
    }
    until("deliveries have made room", async || {
        let one = request(90_000, None, 1_000);
        store.append(new(&one, Vec::new()), IDS).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn refused_requests_fill_their_share_only() {
    let (disk, dir) = (SimulatedDisk::new(1), tempfile::tempdir().unwrap());
    let index = dir.path().join("index.db");
    let most = 4 << 20;
    let options = options(4 * SEGMENT);
    let store = JournalStore::open_on(disk.directory(), &index, &options, most).unwrap();
    let mut kept = 0;
    let refused = loop {
        let mut one = request(100 + kept, None, 10_000);
        one.rejection = Some(crate::store::Rejection {
            cause: "SOURCE_AUTH_FAILED".into(),
            reason: "no_match".into(),
            detail: String::new(),
        });
        match store.append(new(&one, Vec::new()), IDS).await {
            Ok(_) => kept += 1,
            Err(error) => break error,
        }
        assert!(kept < 300, "refused requests have no bound");
    };
    assert!(matches!(refused, StoreError::Busy), "{refused:?}");
    accept(&store, 10_000, 1_000).await;
}
