//! What was handed in takes its effect, whatever its caller does and however late it is seen.

use hookplane_journal::io::simulated::SimulatedDisk;

use super::super::doors::MOST_COUNTED;
use super::super::entry::Counted;
use super::super::follow::Order;
use super::*;

const SEGMENT: u32 = 1 << 20;

/// A request whose event failed, in the index.
async fn failed_one(store: &JournalStore) -> (RequestRecord, EventRecord) {
    let one = request(10, Some("msg"), 10);
    let branch = event(&one, "des_1");
    let new = new(&one, vec![branch.clone()]);
    store.append(new, IDS).await.unwrap();
    let failed = completion(&branch, EventStatus::Failed, None);
    store.complete(failed).await.unwrap();
    store.event(TEAM, &branch.id).await.unwrap().unwrap();
    (one, branch)
}

#[tokio::test]
async fn a_retry_on_stable_storage_is_no_error_when_the_follower_is_late() {
    let (disk, dir) = (SimulatedDisk::new(1), tempfile::tempdir().unwrap());
    let store = on_disk(&disk, dir.path(), &options(SEGMENT));
    let (_, branch) = failed_one(&store).await;
    let late = hold_up_follower(&store);
    // From here on every wait is over at once.
    tokio::time::pause();
    let id = IDS.mint(Kind::Event, 20);
    let made = store.retry_event(TEAM, &branch.id, id, 20).await;
    drop(late);
    tokio::time::resume();
    let made = made.expect("asked again it would be sent twice");
    assert!(store.event(TEAM, &made.id).await.unwrap().is_some());
    // The same of a message that came again and heals.
    let again = completion(&made, EventStatus::Failed, None);
    store.complete(again).await.unwrap();
    store.event(TEAM, &made.id).await.unwrap().unwrap();
    let late = hold_up_follower(&store);
    tokio::time::pause();
    let repeat = request(30, Some("msg"), 10);
    let repeat = store.append(new(&repeat, Vec::new()), IDS).await;
    drop(late);
    tokio::time::resume();
    repeat.expect("the sender would come again");
}

#[tokio::test]
async fn a_request_is_held_until_the_retry_is_seen_even_if_nobody_waits_for_it() {
    let (disk, dir) = (SimulatedDisk::new(1), tempfile::tempdir().unwrap());
    let store = on_disk(&disk, dir.path(), &options(SEGMENT));
    let (one, branch) = failed_one(&store).await;
    let parts = shared(&store);
    let end = parts.journal.end();
    let late = hold_up_follower(&store);
    let mut asked = tokio::task::JoinSet::new();
    asked.spawn({
        let store = store.clone();
        let id = IDS.mint(Kind::Event, 20);
        async move { store.retry_event(TEAM, &branch.id, id, 20).await }
    });
    until("the retry is written", async || parts.journal.end() > end).await;
    asked.shutdown().await;
    let doomed = parts.doors.doom(vec![one.id.clone()]);
    assert!(doomed.is_empty(), "it may be deleted");
    parts.doors.spare();
    drop(late);
    until("the hold ends", async || {
        let doomed = parts.doors.doom(vec![one.id.clone()]);
        parts.doors.spare();
        doomed.len() == 1
    })
    .await;
}

#[tokio::test]
async fn very_many_counted_repeats_are_bounded_and_written_in_parts() {
    let (disk, dir) = (SimulatedDisk::new(1), tempfile::tempdir().unwrap());
    let store = on_disk(&disk, dir.path(), &options(SEGMENT));
    let parts = shared(&store);
    let end = parts.journal.end();
    for number in 0..6 * MOST_COUNTED {
        parts.doors.count(Counted {
            request_id: format!("req_{number:030}"),
            team_id: TEAM.into(),
            source_id: "src_1".into(),
            minute: 0,
        });
    }
    assert_eq!(parts.doors.lock().counted.len(), 4 * MOST_COUNTED);
    store.handle.orders.try_send(Order::WriteCounts).unwrap();
    parts.progress.raise();
    until("they are written", async || {
        parts.journal.end() > end && parts.doors.lock().counted.is_empty()
    })
    .await;
}
