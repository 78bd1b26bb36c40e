//! The index can be thrown away: what it said it says again.

use hookplane_journal::io::simulated::SimulatedDisk;
use std::collections::HashSet;

use super::*;
use crate::store::{AttemptQuery, EventQuery, RequestQuery, StoreError};

/// Everything that questions can tell.
pub(super) async fn told(store: &JournalStore) -> String {
    let requests = RequestQuery {
        team_id: TEAM.into(),
        limit: 255,
        ..Default::default()
    };
    let events = EventQuery {
        team_id: TEAM.into(),
        limit: 255,
        ..Default::default()
    };
    let attempts = AttemptQuery {
        team_id: TEAM.into(),
        limit: 255,
        ..Default::default()
    };
    let listed = store.requests(requests.clone(), true).await.unwrap();
    let mut histories = Vec::new();
    for (request, _) in &listed {
        histories.push(store.history(TEAM, &request.id).await.unwrap());
    }
    let mut due = store
        .due(lane_due("des_1", u64::MAX >> 1, 255))
        .await
        .unwrap();
    due.extend(
        store
            .due(lane_due("des_2", u64::MAX >> 1, 255))
            .await
            .unwrap(),
    );
    let parts = [
        format!("{listed:#?}{histories:#?}{due:#?}"),
        format!("{:#?}", store.events(events.clone()).await.unwrap()),
        format!("{:#?}", store.attempts(attempts).await.unwrap()),
        format!("{:?}", store.count_requests(requests).await.unwrap()),
        format!("{:?}", store.count_events(events).await.unwrap()),
        format!("{:?}", store.backlog(&HashSet::new()).await.unwrap()),
        format!("{:?}", store.spooled_reports(0, 10).await.unwrap()),
        format!("{:?}", store.store_number().await.unwrap()),
        format!("{:?}", store.pending_connections().await.unwrap()),
    ];
    parts.join("\n")
}

/// One of everything that can happen.
pub(super) async fn live(store: &JournalStore) {
    store.set_store_number(7).await.unwrap();
    for at in 0..20_u64 {
        let one = request(100 + at, Some(&format!("msg_{at}")), 100);
        let branches = vec![event(&one, "des_1"), event(&one, "des_2")];
        let status = match at % 4 {
            0 => EventStatus::Successful,
            1 => EventStatus::Failed,
            2 => EventStatus::Scheduled,
            _ => EventStatus::Queued,
        };
        store
            .append(new(&one, branches.clone()), IDS)
            .await
            .unwrap();
        if status != EventStatus::Queued {
            let next = (status == EventStatus::Scheduled).then_some(9_000);
            let done = completion(&branches[0], status, next);
            store.complete(done).await.unwrap();
        }
        if at % 8 == 1 {
            let again = request(500 + at, Some(&format!("msg_{at}")), 100);
            store.append(new(&again, Vec::new()), IDS).await.unwrap();
        }
        if at % 8 == 4 {
            let id = IDS.mint(Kind::Event, 600);
            store
                .retry_event(TEAM, &branches[0].id, id, 600)
                .await
                .unwrap();
        }
    }
    store.cancel_pending("web_des_2", "gone").await.unwrap();
    for report in [b"a", b"b", b"c"] {
        store.spool_report(report.to_vec()).await.unwrap();
    }
    store.acknowledge_reports(1).await.unwrap();
    store.amend_report(3, b"cc".to_vec()).await.unwrap();
}

#[tokio::test]
async fn an_index_made_again_gives_the_same_answers() {
    let (disk, dir) = (SimulatedDisk::new(1), tempfile::tempdir().unwrap());
    let options = options(64 << 10);
    let store = on_disk(&disk, dir.path(), &options);
    live(&store).await;
    let before = told(&store).await;
    store.close().await;
    drop(store);
    super::super::index::remove(&dir.path().join("index.db")).unwrap();

    let store = on_disk(&disk, dir.path(), &options);
    assert_eq!(told(&store).await, before);
    let again = request(900, Some("msg_0"), 100);
    let again = store.append(new(&again, Vec::new()), IDS).await.unwrap();
    assert_ne!(
        again,
        crate::store::Appended::New,
        "a message was forgotten"
    );
    assert_eq!(store.spool_report(b"d".to_vec()).await.unwrap(), 4);
    let wrong = store.ask(|db, _| super::super::index::totals::wrong(db));
    assert_eq!(wrong.await.unwrap(), 0, "sums are not what there is");
    assert_eq!(store.imbalance().await.unwrap(), 0);
}

#[tokio::test]
async fn an_index_that_is_behind_or_broken_or_of_another_journal_is_mended() {
    let (disk, dir) = (SimulatedDisk::new(1), tempfile::tempdir().unwrap());
    let options = options(64 << 10);
    let path = dir.path().join("index.db");
    let store = on_disk(&disk, dir.path(), &options);
    accept(&store, 5, 100).await;
    store.close().await;
    drop(store);
    let old = std::fs::read(&path).unwrap();
    let store = on_disk(&disk, dir.path(), &options);
    live(&store).await;
    let before = told(&store).await;
    store.close().await;
    drop(store);

    std::fs::write(&path, &old).unwrap();
    let store = on_disk(&disk, dir.path(), &options);
    assert_eq!(told(&store).await, before, "the index was behind");
    store.close().await;
    drop(store);

    std::fs::write(&path, vec![7; 10_000]).unwrap();
    let store = on_disk(&disk, dir.path(), &options);
    assert_eq!(told(&store).await, before, "the index was no database");
    store.close().await;
    drop(store);

    let other = SimulatedDisk::new(2);
    let store = on_disk(&other, dir.path(), &options);
    assert!(store.pending_lanes().await.unwrap().is_empty());
    assert_eq!(store.store_number().await.unwrap(), None);
}

/// What is told of requests that are kept, without arrivals that ended with their segment.
async fn told_of(store: &JournalStore, kept: &[String]) -> String {
    let mut told = String::new();
    for id in kept {
        let mut history = store.history(TEAM, id).await.unwrap().expect("it is kept");
        history.repeats.clear();
        told += &format!("{history:#?}");
    }
    let due = store.due(lane_due("des_1", u64::MAX >> 1, 255)).await;
    told += &format!("{:#?}", due.unwrap());
    told += &format!("{:?}", store.backlog(&HashSet::new()).await.unwrap());
    told += &format!("{:?}", store.spooled_reports(0, 10).await.unwrap());
    told += &format!("{:?}", store.store_number().await.unwrap());
    told + &format!("{:?}", store.pending_connections().await.unwrap())
}

#[tokio::test]
async fn an_index_made_again_after_segments_were_given_up_gives_the_same_answers() {
    let (disk, dir) = (SimulatedDisk::new(1), tempfile::tempdir().unwrap());
    let options = options(64 << 10);
    let store = on_disk(&disk, dir.path(), &options);
    store.set_store_number(7).await.unwrap();
    let mut kept = Vec::new();
    for at in 0..6_u64 {
        let one = request(100 + at, Some(&format!("msg_{at}")), 500);
        let branches = vec![event(&one, "des_1"), event(&one, "des_2")];
        let both = new(&one, branches.clone());
        store.append(both, IDS).await.unwrap();
        let done = completion(&branches[1], EventStatus::Failed, None);
        store.complete(done).await.unwrap();
        let tried = completion(&branches[0], EventStatus::Scheduled, Some(9_000));
        store.complete(tried).await.unwrap();
        kept.push(one.id);
    }
    store.spool_report(b"waits".to_vec()).await.unwrap();
    for at in 0..30 {
        deliver(&store, 1_000 + at, 20_000).await;
    }
    // Records that stay about requests that move: each heals a branch once, then is an arrival.
    for at in 0..12_u64 {
        let again = request(2_000 + at, Some(&format!("msg_{}", at % 6)), 10);
        // Segments are so small here that a busy machine is late by many of them.
        until("the store keeps up", async || {
            let stored = store.append(new(&again, Vec::new()), IDS).await;
            !matches!(stored, Err(StoreError::Busy))
        })
        .await;
    }
    until("the old segments are given up", async || {
        store.retain(5_000, 5_000, 200).await.unwrap();
        shared(&store).journal.segments().len() <= 3
    })
    .await;
    let before = told_of(&store, &kept).await;
    store.close().await;
    drop(store);
    super::super::index::remove(&dir.path().join("index.db")).unwrap();

    let store = on_disk(&disk, dir.path(), &options);
    assert_eq!(told_of(&store, &kept).await, before);
    assert_eq!(store.imbalance().await.unwrap(), 0);
}
