//! Lists over requests that cannot be read back.

use std::ops::ControlFlow;

use hookplane_journal::io::simulated::SimulatedDisk;

use super::disk::damage;
use super::*;
use crate::store::RequestQuery;

fn page(before_id: Option<String>, limit: u32) -> RequestQuery {
    RequestQuery {
        team_id: TEAM.into(),
        before_id,
        limit,
        ..RequestQuery::default()
    }
}

/// Four requests, newest first, of which the newest two have lost their payloads.
async fn with_two_lost(disk: &SimulatedDisk, folder: &Path) -> (JournalStore, Vec<String>) {
    let store = on_disk(disk, folder, &options(64 << 10));
    let (mut ids, mut places) = (Vec::new(), Vec::new());
    for at in [40, 30, 20, 10] {
        let one = request(at, None, 1_000);
        store.append(new(&one, Vec::new()), IDS).await.unwrap();
        let id = one.id.clone();
        let found = store
            .ask(move |db, _| super::super::index::read::place(db, &id))
            .await;
        places.push(found.unwrap().unwrap().1.unwrap());
        ids.push(one.id);
    }
    store.close().await;
    drop(store);
    for lost in &places[..2] {
        damage(disk, *lost);
    }
    (on_disk(disk, folder, &options(64 << 10)), ids)
}

#[tokio::test]
async fn requests_that_cannot_be_read_leave_their_places_on_a_page_to_older_ones() {
    let (disk, dir) = (SimulatedDisk::new(1), tempfile::tempdir().unwrap());
    let (store, ids) = with_two_lost(&disk, dir.path()).await;
    let listed = store.requests(page(None, 2), true).await.unwrap();
    let listed: Vec<_> = listed.iter().map(|(one, _)| one.id.as_str()).collect();
    assert_eq!(listed, ids[2..]);
}

#[tokio::test]
async fn a_look_goes_past_requests_that_cannot_be_read_and_ends_on_an_empty_page_only() {
    let (disk, dir) = (SimulatedDisk::new(1), tempfile::tempdir().unwrap());
    let (store, ids) = with_two_lost(&disk, dir.path()).await;
    let (seen, shown) = sync_channel(8);
    let look = |answer: ControlFlow<()>| {
        let seen = seen.clone();
        Box::new(move |request: RequestRecord, _| {
            seen.send((request.id, request.body.len())).unwrap();
            answer
        })
    };
    let on = || look(ControlFlow::Continue(()));
    let came_to = store.look_through(page(None, 2), on()).await.unwrap();
    assert_eq!(came_to.as_ref(), Some(&ids[1]));
    assert_eq!(shown.try_iter().count(), 0);

    let once = look(ControlFlow::Break(()));
    let came_to = store.look_through(page(came_to, 2), once).await.unwrap();
    assert_eq!(came_to.as_ref(), Some(&ids[2]));
    let came_to = store.look_through(page(came_to, 2), on()).await.unwrap();
    assert_eq!(came_to.as_ref(), Some(&ids[3]));
    let whole = |id: &String| (id.clone(), 1_000);
    let both: Vec<_> = shown.try_iter().collect();
    assert_eq!(both, [whole(&ids[2]), whole(&ids[3])]);
    let came_to = store.look_through(page(came_to, 2), on()).await.unwrap();
    assert_eq!(came_to, None);
}
