//! Promises about age, faults, reports and the end: what keeps a store usable over time.

use super::*;
use std::collections::HashSet;

#[tokio::test]
async fn retention_spares_whatever_is_not_delivered() {
    let (_dir, store) = fresh();
    let (waiting, done) = (request(10, None), request(11, Some("msg")));
    let recent = request(1_000, None);
    store
        .append(new(&waiting, vec![event(&waiting, "des_1")]), IDS)
        .await
        .unwrap();
    let delivered = event(&done, "des_1");
    store
        .append(new(&done, vec![delivered.clone()]), IDS)
        .await
        .unwrap();
    store
        .complete(completion(&delivered, EventStatus::Successful, None))
        .await
        .unwrap();
    store.append(new(&recent, Vec::new()), IDS).await.unwrap();
    assert_eq!(store.retain(500, 500, 100).await.unwrap(), 1);
    assert!(store.history(TEAM, &done.id).await.unwrap().is_none());
    assert!(store.event(TEAM, &delivered.id).await.unwrap().is_none());
    for kept in [&waiting, &recent] {
        assert!(
            store.request(TEAM, &kept.id).await.unwrap().is_some(),
            "{} is gone",
            kept.id
        );
    }
}

#[tokio::test]
async fn a_job_that_fails_takes_nobody_of_its_group_with_it() {
    let (_dir, store) = fresh();
    let mut tries = tokio::task::JoinSet::new();
    for at in 0..30_u64 {
        let store = store.clone();
        let mut request = request(100 + at, None);
        if at % 3 == 0 {
            // More than the store takes.
            request.body = Bytes::from(vec![1; 1 << 20]);
        }
        tries.spawn(async move { store.append(new(&request, Vec::new()), IDS).await.is_ok() });
    }
    let outcomes = tries.join_all().await;
    let stored = outcomes.iter().filter(|ok| **ok).count();
    assert_eq!(stored, 20, "a large one takes others with it");
    let all = RequestQuery {
        team_id: TEAM.into(),
        ..Default::default()
    };
    assert_eq!(store.count_requests(all).await.unwrap().accepted, 20);
}

#[tokio::test]
async fn reports_keep_their_numbers_until_acknowledged_and_over_restarts() {
    let (dir, store) = fresh();
    assert_eq!(store.spool_report(b"a".to_vec()).await.unwrap(), 1);
    assert_eq!(store.spool_report(b"b".to_vec()).await.unwrap(), 2);
    store.acknowledge_reports(2).await.unwrap();
    store.close().await;
    drop(store);
    let store = open(dir.path());
    assert_eq!(
        store.spool_report(b"c".to_vec()).await.unwrap(),
        3,
        "a number was used twice"
    );
    let waiting = store.spooled_reports(0, 10).await.unwrap();
    assert_eq!(
        waiting,
        [SpooledReport {
            sequence: 3,
            payload: b"c".to_vec()
        }]
    );
}

#[tokio::test]
async fn the_store_keeps_its_number_and_refuses_another() {
    let (_dir, store) = fresh();
    assert_eq!(store.store_number().await.unwrap(), None);
    store.set_store_number(7).await.unwrap();
    store.set_store_number(7).await.unwrap();
    assert!(matches!(
        store.set_store_number(8).await,
        Err(StoreError::Corrupt { .. })
    ));
    assert_eq!(store.store_number().await.unwrap(), Some(7));
}

#[tokio::test]
async fn news_comes_after_the_write_and_a_closed_store_says_so() {
    let (_dir, store) = fresh();
    let mut news = store.subscribe();
    let first = request(10, None);
    store
        .append(new(&first, vec![event(&first, "des_1")]), IDS)
        .await
        .unwrap();
    match news.recv().await.expect("an append makes news") {
        StoreEvent::Stored { request, events } => {
            let lean = RequestRecord {
                headers: Vec::new(),
                body: Bytes::new(),
                ..first.clone()
            };
            assert_eq!((request.as_ref(), events.len()), (&lean, 1));
        }
        other => panic!("{other:?}"),
    }
    store.close().await;
    let closed = store.append(new(&request(11, None), Vec::new()), IDS).await;
    assert!(matches!(closed, Err(StoreError::Closed)), "{closed:?}");
}

#[tokio::test]
async fn a_spooled_report_can_be_amended_until_it_is_acknowledged() {
    let (_dir, store) = fresh();
    let number = store.spool_report(b"a".to_vec()).await.unwrap();
    assert!(store.amend_report(number, b"ab".to_vec()).await.unwrap());
    assert_eq!(store.spool_length().await.unwrap(), 1);
    let waiting = store.spooled_reports(0, 10).await.unwrap();
    assert_eq!(waiting[0].payload, b"ab");
    store.acknowledge_reports(number).await.unwrap();
    assert!(!store.amend_report(number, b"abc".to_vec()).await.unwrap());
    assert_eq!(store.spool_length().await.unwrap(), 0);
}

#[tokio::test]
async fn the_backlog_counts_what_waits_and_the_books_balance() {
    let (_dir, store) = fresh();
    let first = request(10, None);
    let (done, waiting) = (event(&first, "des_1"), event(&first, "des_2"));
    let events = vec![done.clone(), waiting];
    store.append(new(&first, events), IDS).await.unwrap();
    assert_eq!(store.backlog(&HashSet::new()).await.unwrap().queued, 2);
    store
        .complete(completion(&done, EventStatus::Successful, None))
        .await
        .unwrap();
    store.probe(20).await.unwrap();
    let backlog = store.backlog(&HashSet::new()).await.unwrap();
    assert_eq!(
        (backlog.queued, backlog.scheduled, backlog.successful),
        (1, 0, 0)
    );
    assert_eq!(store.imbalance().await.unwrap(), 0);
}
