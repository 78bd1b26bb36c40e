//! Promises about messages that come again and again, and long after.

use super::*;

async fn again(store: &JournalStore, at: u64, window: u64) -> Appended {
    let mut new = new(&request(at, Some("msg_1")), Vec::new());
    new.dedupe_window_millis = window;
    store.append(new, IDS).await.unwrap()
}

#[tokio::test]
async fn a_message_replayed_for_ever_is_counted_and_takes_no_more_disk() {
    let (dir, store) = fresh();
    let first = request(10, Some("msg_1"));
    let mut accepted = new(&first, vec![event(&first, "des_1")]);
    accepted.dedupe_window_millis = 1_000_000;
    store.append(accepted, IDS).await.unwrap();
    for at in 0..150 {
        again(&store, 20 + at, 1_000_000).await;
    }
    let written = store.written();
    for at in 0..150 {
        again(&store, 200 + at, 1_000_000).await;
    }
    assert_eq!(
        store.written(),
        written,
        "repeats that queue nothing are written one by one"
    );
    let history = store.history(TEAM, &first.id).await.unwrap().unwrap();
    assert_eq!(history.counts.repeats, 300, "a repeat is not counted");
    assert_eq!(history.repeats.len(), 100, "too many are kept one by one");
    store.close().await;
    drop(store);
    let store = open(dir.path());
    let history = store.history(TEAM, &first.id).await.unwrap().unwrap();
    assert_eq!(history.counts.repeats, 300, "counts do not survive a stop");
    let source = RequestQuery {
        team_id: TEAM.into(),
        source_id: Some("src_1".into()),
        ..Default::default()
    };
    let totals = store.count_requests(source).await.unwrap();
    assert_eq!((totals.accepted, totals.repeats), (1, 300));
}

#[tokio::test]
async fn a_repeat_past_the_kept_ones_still_heals() {
    let (_dir, store) = fresh();
    let first = request(10, Some("msg_1"));
    let branch = event(&first, "des_1");
    let mut accepted = new(&first, vec![branch.clone()]);
    accepted.dedupe_window_millis = 1_000_000;
    store.append(accepted, IDS).await.unwrap();
    for at in 0..110 {
        again(&store, 20 + at, 1_000_000).await;
    }
    let dead = completion(&branch, EventStatus::Failed, None);
    store.complete(dead).await.unwrap();
    let healed = again(&store, 500, 1_000_000).await;
    assert!(matches!(&healed, Appended::Repeat { requeued, .. } if requeued.len() == 1));
    assert_eq!(due(&store, "des_1", 500).await.len(), 1);
}

#[tokio::test]
async fn a_message_is_known_for_its_window_even_when_its_request_is_deleted() {
    let (dir, store) = fresh();
    let first = request(10, Some("msg_1"));
    let mut accepted = new(&first, Vec::new());
    accepted.dedupe_window_millis = 1_000;
    store.append(accepted, IDS).await.unwrap();
    assert_eq!(store.retain(500, 500, 100).await.unwrap(), 1);
    assert!(store.request(TEAM, &first.id).await.unwrap().is_none());
    store.close().await;
    drop(store);
    let store = open(dir.path());
    let known = Appended::Repeat {
        first_request_id: first.id.clone(),
        requeued: Vec::new(),
    };
    assert_eq!(again(&store, 1_009, 1_000).await, known);
    assert_eq!(again(&store, 1_010, 1_000).await, Appended::New);
}
