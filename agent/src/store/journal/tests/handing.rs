//! What the writer hands to the follower: that it is used, that it is bounded, that order stays.

use super::*;

const SEGMENT: u32 = 32 << 20;

async fn taken_in(store: &JournalStore) {
    shared(store).applied().await.expect("the follower follows");
}

#[tokio::test]
async fn what_was_just_written_is_not_read_back() {
    let (disk, dir) = (SimulatedDisk::new(1), tempfile::tempdir().unwrap());
    let store = on_disk(&disk, dir.path(), &options(SEGMENT));
    // The first record of a segment may be read.
    accept(&store, 1, 100).await;
    taken_in(&store).await;
    disk.set_unreadable("0000000001.segment", 0..u64::MAX);
    let mut all = Vec::new();
    for at in 2..12 {
        all.push(accept(&store, at, 3_000).await);
    }
    let (_, branch) = &all[0];
    let failed = completion(branch, EventStatus::Failed, None);
    store.complete(failed).await.unwrap();
    taken_in(&store).await;
    let due = store.due(lane_due("des_1", 100, 20)).await.unwrap();
    let due = due.iter().skip(1).map(|one| (&*one.request, &*one.event));
    assert!(due.eq(all[1..].iter().map(|(request, event)| (request, event))));
    let retried = store
        .retry_event(TEAM, &branch.id, "evt_again".into(), 50)
        .await;
    let retried = retried.expect("a failed event is tried again");
    let kept = store.event(TEAM, "evt_again").await.unwrap();
    assert_eq!(kept, Some(retried));
}

#[tokio::test]
async fn what_does_not_fit_memory_is_read_and_the_order_stays() {
    let (disk, dir) = (SimulatedDisk::new(1), tempfile::tempdir().unwrap());
    let store = on_disk(&disk, dir.path(), &options(SEGMENT));
    accept(&store, 1, 100).await;
    taken_in(&store).await;
    let mut news = store.subscribe();
    let held = hold_up_follower(&store);
    let mut sent = Vec::new();
    for at in 2..62 {
        sent.push(accept(&store, at, 200_000).await.0.id);
    }
    drop(held);
    for at in 62..70 {
        sent.push(accept(&store, at, 2_000).await.0.id);
    }
    let mut heard = Vec::new();
    while heard.len() < sent.len() {
        match news.recv().await.expect("news of each") {
            StoreEvent::Stored { request, .. } => heard.push(request.id.clone()),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(heard, sent);
}
