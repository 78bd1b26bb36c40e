//! Promises about events that are the same for one connection.

use super::*;
use crate::store::BranchKey;

const WINDOW_END: u64 = 1_000_000;

/// A request of its own message with one event, whose key is this one.
fn keyed(at: u64, key: u8) -> NewRequest {
    let request = request(at, None);
    let mut new = new(&request, vec![event(&request, "des_1")]);
    new.branch_keys = vec![BranchKey {
        event: 0,
        key: [key; 16],
        expires_at: WINDOW_END,
    }];
    new
}

async fn status(store: &JournalStore, new: &NewRequest) -> (EventStatus, Option<IgnoredReason>) {
    let id = &new.events[0].id;
    let found = store.event(TEAM, id).await.unwrap().expect("it is kept");
    (found.status, found.ignored_reason)
}

const LEFT_OUT: (EventStatus, Option<IgnoredReason>) =
    (EventStatus::Cancelled, Some(IgnoredReason::Duplicate));
const PENDING: (EventStatus, Option<IgnoredReason>) = (EventStatus::Queued, None);

#[tokio::test]
async fn of_events_with_one_key_that_come_at_once_exactly_one_is_sent() {
    let (dir, store) = fresh();
    let mut tries = tokio::task::JoinSet::new();
    for at in 0..20 {
        let store = store.clone();
        tries.spawn(async move {
            let one = keyed(10 + at, 7);
            store.append(one.clone(), IDS).await.unwrap();
            one
        });
    }
    let all = tries.join_all().await;
    let mut pending = 0;
    for one in &all {
        match status(&store, one).await {
            PENDING => pending += 1,
            other => assert_eq!(other, LEFT_OUT),
        }
    }
    assert_eq!(pending, 1);
    assert_eq!(due(&store, "des_1", WINDOW_END).await.len(), 1);
    store.close().await;
    drop(store);
    let store = open(dir.path());
    let late = keyed(500, 7);
    store.append(late.clone(), IDS).await.unwrap();
    assert_eq!(
        status(&store, &late).await,
        LEFT_OUT,
        "the key was forgotten"
    );
    let other = keyed(501, 8);
    store.append(other.clone(), IDS).await.unwrap();
    assert_eq!(status(&store, &other).await, PENDING);
}

#[tokio::test]
async fn an_event_is_sent_when_the_earlier_one_failed_and_when_the_window_has_ended() {
    let (_dir, store) = fresh();
    let first = keyed(10, 7);
    store.append(first.clone(), IDS).await.unwrap();
    let dead = completion(&first.events[0], EventStatus::Failed, None);
    store.complete(dead).await.unwrap();
    let second = keyed(20, 7);
    store.append(second.clone(), IDS).await.unwrap();
    assert_eq!(status(&store, &second).await, PENDING);
    let third = keyed(30, 7);
    store.append(third.clone(), IDS).await.unwrap();
    assert_eq!(status(&store, &third).await, LEFT_OUT);
    let after = keyed(WINDOW_END, 7);
    store.append(after.clone(), IDS).await.unwrap();
    assert_eq!(status(&store, &after).await, PENDING);
}

#[tokio::test]
async fn an_event_is_sent_when_a_person_stopped_the_earlier_one() {
    let (_dir, store) = fresh();
    let first = keyed(10, 7);
    store.append(first.clone(), IDS).await.unwrap();
    let id = &first.events[0].id;
    store.cancel_event(TEAM, id, "enough", 15).await.unwrap();
    let second = keyed(20, 7);
    store.append(second.clone(), IDS).await.unwrap();
    assert_eq!(status(&store, &second).await, PENDING);
}

#[tokio::test]
async fn requests_with_the_same_keys_in_any_order_never_wait_for_each_other() {
    let (_dir, store) = fresh();
    let mut tries = tokio::task::JoinSet::new();
    for at in 0..40 {
        let store = store.clone();
        tries.spawn(async move {
            let request = request(10 + at, Some(&format!("msg_{}", at % 5)));
            let events = vec![event(&request, "des_1"), event(&request, "des_2")];
            let mut new = new(&request, events);
            let keys = if at % 2 == 0 { [1, 2] } else { [2, 1] };
            new.branch_keys = (0..2)
                .map(|event| BranchKey {
                    event,
                    key: [keys[event]; 16],
                    expires_at: WINDOW_END,
                })
                .collect();
            store.append(new, IDS).await.unwrap();
        });
    }
    tries.join_all().await;
    let sent =
        due(&store, "des_1", WINDOW_END).await.len() + due(&store, "des_2", WINDOW_END).await.len();
    assert_eq!(sent, 2, "each key is sent once");
}
