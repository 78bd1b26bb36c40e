//! A start with a long way for the index to go, and with records that make no sense.

use hookplane_journal::Record;
use hookplane_journal::io::simulated::SimulatedDisk;

use super::super::entry::kind;
use super::*;
use crate::store::Appended;

#[tokio::test]
async fn while_the_index_is_made_again_requests_are_accepted_and_none_twice() {
    const SEGMENT: u32 = 64 << 10;
    let (disk, dir) = (SimulatedDisk::new(1), tempfile::tempdir().unwrap());
    let store = on_disk(&disk, dir.path(), &options(SEGMENT));
    for at in 0..150 {
        let one = request(100 + at, Some(&format!("msg_{at}")), 10_000);
        until("it is stored", async || {
            store.append(new(&one, Vec::new()), IDS).await.is_ok()
        })
        .await;
    }
    store.close().await;
    drop(store);
    super::super::index::remove(&dir.path().join("index.db")).unwrap();

    let store = on_disk(&disk, dir.path(), &options(SEGMENT));
    // More than what the follower may be behind at other times, in one go.
    let mut tasks = tokio::task::JoinSet::new();
    for at in 0..90_u64 {
        let one = request(1_000 + at, Some(&format!("new_{at}")), 10_000);
        let store = store.clone();
        tasks.spawn(async move { store.append(new(&one, Vec::new()), IDS).await });
    }
    for at in 0..150_u64 {
        let again = request(2_000 + at, Some(&format!("msg_{at}")), 10);
        let store = store.clone();
        tasks.spawn(async move {
            let answer = store.append(new(&again, Vec::new()), IDS).await;
            match answer {
                Ok(Appended::New) => panic!("msg_{at} was taken twice"),
                answer => answer,
            }
        });
    }
    while let Some(answer) = tasks.join_next().await {
        answer.unwrap().expect("it is accepted");
    }
}

#[tokio::test]
async fn a_record_that_makes_no_sense_does_not_stop_the_start_and_one_of_a_newer_release_does() {
    let (disk, dir) = (SimulatedDisk::new(1), tempfile::tempdir().unwrap());
    let store = on_disk(&disk, dir.path(), &options(1 << 20));
    let (kept, _) = accept(&store, 10, 100).await;
    let write = async |record: Record| {
        let journal = &shared(&store).journal;
        journal.append(vec![record]).unwrap().await.unwrap();
    };
    // Version 1 and then nothing of what belongs there.
    for kind in [kind::REQUEST, kind::KEYS, kind::REPORT, kind::NUMBER] {
        write(Record::new(kind, vec![1, 0xff])).await;
    }
    store.close().await;
    drop(store);
    super::super::index::remove(&dir.path().join("index.db")).unwrap();
    let store = on_disk(&disk, dir.path(), &options(1 << 20));
    assert!(store.request(TEAM, &kept.id).await.unwrap().is_some());
    let journal = &shared(&store).journal;
    let newer = journal.append(vec![Record::new(kind::REQUEST, vec![99])]);
    newer.unwrap().await.unwrap();
    store.close().await;
    drop(store);
    super::super::index::remove(&dir.path().join("index.db")).unwrap();
    let index = dir.path().join("index.db");
    let options = options(1 << 20);
    let opened = JournalStore::open_on(disk.directory(), &index, &options, u64::MAX);
    assert!(opened.is_err(), "a newer release's record was passed over");
}
