//! A disk that is full, and events that do not read back.

use hookplane_journal::io::simulated::SimulatedDisk;

use super::super::index;
use super::*;
use crate::store::StoreError;

const SEGMENT: u32 = 64 << 10;

fn with_reserve() -> Options {
    let mut options = options(SEGMENT);
    options.journal.reserve = true;
    options
}

#[tokio::test]
async fn a_full_disk_refuses_requests_takes_completions_and_recovers_by_itself() {
    let (disk, dir) = (SimulatedDisk::new(1), tempfile::tempdir().unwrap());
    disk.set_capacity(4 * u64::from(SEGMENT));
    let store = on_disk(&disk, dir.path(), &with_reserve());
    let mut stored = Vec::new();
    let refused = loop {
        let one = request(100 + stored.len() as u64, None, 20_000);
        let branch = event(&one, "des_1");
        match store.append(new(&one, vec![branch.clone()]), IDS).await {
            Ok(_) => stored.push((one, branch)),
            Err(error) => break (one, error),
        }
    };
    assert!(
        matches!(refused.1, StoreError::Unavailable(_)),
        "{refused:?}"
    );
    assert!(
        store.request(TEAM, &refused.0.id).await.unwrap().is_none(),
        "a refused write left traces"
    );
    assert!(
        store.probe(1).await.is_err(),
        "the condition is not visible"
    );
    let done = completion(&stored[0].1, EventStatus::Successful, None);
    store.complete(done).await.expect("the end of a delivery");
    assert_eq!(
        store
            .due(lane_due("des_1", 1_000, 100))
            .await
            .unwrap()
            .len(),
        stored.len() - 1,
        "what was accepted is not sent"
    );
    disk.set_capacity(u64::MAX);
    until("there is room again", async || {
        let one = request(10_000, None, 20_000);
        store.append(new(&one, Vec::new()), IDS).await.is_ok()
    })
    .await;
    store.probe(2).await.expect("the condition is over");
}

/// A full disk whose oldest segment holds so many pending requests, and the rest evidence past
/// its age; gives the bytes written while room was looked for.
async fn moved_on_a_full_disk(pending: u64) -> u64 {
    let (disk, dir) = (SimulatedDisk::new(1), tempfile::tempdir().unwrap());
    disk.set_capacity(8 * u64::from(SEGMENT));
    let store = on_disk(&disk, dir.path(), &with_reserve());
    let first = accept(&store, 10, 20_000).await.1;
    for at in 1..pending {
        accept(&store, 10 + at, 20_000).await;
    }
    for at in 100.. {
        let one = request(at, None, 20_000);
        if store.append(new(&one, Vec::new()), IDS).await.is_err() {
            break;
        }
    }
    let before = store.written();
    for _ in 0..20 {
        store.retain(5_000, 5_000, 1_000).await.unwrap();
    }
    let written = store.written() - before;
    let done = completion(&first, EventStatus::Successful, None);
    store.complete(done).await.expect("the end of a delivery");
    written
}

#[tokio::test]
async fn what_is_moved_leaves_half_of_the_reserve_to_ends_of_deliveries() {
    let little = moved_on_a_full_disk(1).await;
    assert!(little > 20_000, "a segment is not emptied: {little}");
    let much = moved_on_a_full_disk(3).await;
    assert!(
        much < u64::from(SEGMENT) / 2,
        "the reserve is eaten: {much}"
    );
}

/// Changes a byte in the middle of the payload of a request, as it stands on disk.
pub(super) fn damage(disk: &SimulatedDisk, at: hookplane_journal::Position) {
    let name = format!("{:010}.segment", at.segment);
    let mut bytes = disk.bytes_of(&name).unwrap();
    bytes[at.offset as usize + 40] ^= 0x55;
    disk.put(&name, bytes);
}

#[tokio::test]
async fn an_event_that_cannot_be_read_back_fails_with_the_reason_and_stops_no_other() {
    let (disk, dir) = (SimulatedDisk::new(1), tempfile::tempdir().unwrap());
    let store = on_disk(&disk, dir.path(), &options(SEGMENT));
    let (_, before) = accept(&store, 10, 1_000).await;
    let (lost, branch) = accept(&store, 20, 1_000).await;
    let (_, after) = accept(&store, 30, 1_000).await;
    let id = lost.id.clone();
    let place = store
        .ask(move |db, _| super::super::index::read::place(db, &id))
        .await
        .unwrap();
    store.close().await;
    drop(store);
    damage(&disk, place.unwrap().1.unwrap());

    let store = on_disk(&disk, dir.path(), &options(SEGMENT));
    let due = store.due(lane_due("des_1", 100, 10)).await.unwrap();
    let ids: Vec<_> = due.iter().map(|due| due.event.id.clone()).collect();
    assert_eq!(ids, [before.id, after.id], "one bad record stops others");
    let failed = store.event(TEAM, &branch.id).await.unwrap().unwrap();
    assert_eq!(failed.status, EventStatus::Failed);
    let why = failed.failure_message.expect("the reason is told");
    assert!(why.contains("checksum"), "{why}");
    assert!(matches!(
        store.request(TEAM, &lost.id).await,
        Err(StoreError::Corrupt { .. })
    ));
    assert_eq!(store.imbalance().await.unwrap(), 0);
}

/// Stores three requests with an event each and closes.
async fn three(disk: &SimulatedDisk, folder: &Path) -> Vec<EventRecord> {
    let store = on_disk(disk, folder, &options(SEGMENT));
    let mut branches = Vec::new();
    for at in [10, 20, 30] {
        branches.push(accept(&store, at, 1_000).await.1);
    }
    store.close().await;
    branches
}

#[tokio::test]
async fn damage_of_the_index_that_only_deliveries_meet_is_noticed() {
    let (disk, dir) = (SimulatedDisk::new(1), tempfile::tempdir().unwrap());
    three(&disk, dir.path()).await;
    let path = dir.path().join("index.db");
    let find = "SELECT rootpage FROM sqlite_master WHERE name = 'request_by_id'";
    let page: i64 = {
        let db = rusqlite::Connection::open(&path).unwrap();
        db.query_row(find, [], |row| row.get(0)).unwrap()
    };
    let mut bytes = std::fs::read(&path).unwrap();
    let page = usize::try_from(page).unwrap();
    bytes[(page - 1) * 4_096..][..4_096].fill(0xa5);
    std::fs::write(&path, bytes).unwrap();

    let store = on_disk(&disk, dir.path(), &options(SEGMENT));
    let mark = path.with_extension("broken");
    until("the damage is noticed", async || {
        assert!(store.due(lane_due("des_1", 100, 10)).await.is_ok());
        mark.exists()
    })
    .await;
}

#[tokio::test]
async fn pending_events_without_a_request_fail_and_stop_no_other() {
    let (disk, dir) = (SimulatedDisk::new(1), tempfile::tempdir().unwrap());
    let branches = three(&disk, dir.path()).await;
    {
        let db = rusqlite::Connection::open(dir.path().join("index.db")).unwrap();
        let take_away = "DELETE FROM request WHERE id IN (?1, ?2)";
        let lost = [&branches[0], &branches[1]]
            .map(|branch| index::compact::pack(Kind::Request, &branch.request_id));
        assert_eq!(db.execute(take_away, lost).unwrap(), 2);
    }
    let store = on_disk(&disk, dir.path(), &options(SEGMENT));
    let due = store.due(lane_due("des_1", 100, 10)).await.unwrap();
    assert_eq!(due.len(), 1, "one without a request stops others");
    assert_eq!(due[0].event.id, branches[2].id);
    for lost in &branches[..2] {
        let failed = store.event(TEAM, &lost.id).await.unwrap().unwrap();
        assert_eq!(failed.status, EventStatus::Failed);
        assert!(failed.failure_message.unwrap().contains("request"));
    }
}

#[tokio::test]
async fn a_bad_sector_fails_its_own_event_and_stops_neither_start_nor_others() {
    let (disk, dir) = (SimulatedDisk::new(1), tempfile::tempdir().unwrap());
    let store = on_disk(&disk, dir.path(), &options(SEGMENT));
    let mut branches = Vec::new();
    for at in [10, 20, 30] {
        branches.push(accept(&store, at, 9_000).await.1);
    }
    let id = branches[1].request_id.clone();
    let place = store.ask(move |db, _| super::super::index::read::place(db, &id));
    let payload = place.await.unwrap().unwrap().1.unwrap();
    store.close().await;
    drop(store);
    // In the middle of the body.
    let sector = u64::from(payload.offset).next_multiple_of(4_096);
    let name = format!("{:010}.segment", payload.segment);
    let bad = || disk.set_unreadable(&name, sector..sector + 512);

    let store = on_disk(&disk, dir.path(), &options(SEGMENT));
    bad();
    until("the event has failed", async || {
        let due = store.due(lane_due("des_1", 100, 10)).await.unwrap();
        let ids: Vec<_> = due.iter().map(|due| due.event.id.clone()).collect();
        assert_eq!(ids, [branches[0].id.clone(), branches[2].id.clone()]);
        let lost = store.event(TEAM, &branches[1].id).await.unwrap().unwrap();
        lost.status == EventStatus::Failed
    })
    .await;
    store.close().await;
    drop(store);

    // An index made again meets it, too. The newest segment is whole: opening walks it.
    super::super::index::remove(&dir.path().join("index.db")).unwrap();
    let store = on_disk(&disk, dir.path(), &options(SEGMENT));
    let due = async || store.due(lane_due("des_1", 100, 10)).await;
    until("the others are due", async || {
        due().await.is_ok_and(|due| due.len() == 2)
    })
    .await;
}

#[tokio::test]
async fn a_backlog_beyond_memory_is_sent_in_order_and_once() {
    let (disk, dir) = (SimulatedDisk::new(1), tempfile::tempdir().unwrap());
    let store = on_disk(&disk, dir.path(), &options(4 << 20));
    let mut expected = Vec::new();
    for at in 0..3_000 {
        let one = request(1_000 + at, None, 10);
        let branch = event(&one, "des_1");
        expected.push(branch.id.clone());
        store.append(new(&one, vec![branch]), IDS).await.unwrap();
    }
    store.close().await;
    drop(store);
    let store = on_disk(&disk, dir.path(), &options(4 << 20));
    let mut sent = Vec::new();
    while sent.len() < expected.len() {
        let due = store.due(lane_due("des_1", 1_000_000, 255)).await.unwrap();
        assert!(!due.is_empty(), "{} of {}", sent.len(), expected.len());
        let mut ends = tokio::task::JoinSet::new();
        for due in due {
            sent.push(due.event.id.clone());
            let done = completion(&due.event, EventStatus::Successful, None);
            let store = store.clone();
            ends.spawn(async move { store.complete(done).await.unwrap() });
        }
        ends.join_all().await;
    }
    let strays = sent.iter().zip(&expected).filter(|(sent, due)| sent != due);
    assert_eq!(strays.count(), 0, "out of order, or twice");
    assert!(store.pending_lanes().await.unwrap().is_empty());
    assert_eq!(store.imbalance().await.unwrap(), 0);
}
