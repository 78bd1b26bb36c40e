//! Watching: the state, then every change, and going on where one left off.

use std::time::Duration;

use hookplane_proto::v1;
use hookplane_proto::v1::watch_sources_response::Item;
use tonic::Streaming;

use super::plane::{Plane, clerk};

type Watch = Streaming<v1::WatchSourcesResponse>;

async fn watch(plane: &Plane, from: Option<&v1::WatchMark>) -> Watch {
    let asked = v1::WatchSourcesRequest {
        epoch: from.map(|mark| mark.epoch.clone()).unwrap_or_default(),
        after_revision: from.map(|mark| mark.revision).unwrap_or_default(),
    };
    let opened = plane.sources().watch_sources(asked).await;
    opened.expect("it opens").into_inner()
}

/// What is told up to the next mark, and the mark.
async fn until_mark(watch: &mut Watch) -> (Vec<String>, v1::WatchMark) {
    let mut told = Vec::new();
    loop {
        let next = tokio::time::timeout(Duration::from_secs(20), watch.message());
        let next = next.await.expect("it is told").expect("it goes on");
        match next.expect("it does not end").item.expect("an item") {
            Item::Changed(source) => told.push(format!("changed {}", source.name)),
            Item::DeletedId(id) => told.push(format!("deleted {id}")),
            Item::Mark(mark) if mark.reset => told.push("reset".to_owned()),
            Item::Mark(mark) => return (told, mark),
        }
    }
}

#[tokio::test]
async fn a_watcher_is_told_the_state_then_changes_and_goes_on_where_it_left_off() {
    for plane in Plane::on_each_database().await {
        let one = plane.create_source(clerk("one")).await.expect("a source");
        let mut open = watch(&plane, None).await;
        let (told, mark) = until_mark(&mut open).await;
        assert_eq!(told, ["reset", "changed one"]);
        assert_eq!(mark.revision, one.revision);

        plane.create_source(clerk("two")).await.expect("a source");
        let (told, _) = until_mark(&mut open).await;
        assert_eq!(told, ["changed two"]);
        drop(open);

        let gone = v1::DeleteSourceRequest {
            id: one.id.clone(),
            ..v1::DeleteSourceRequest::default()
        };
        plane
            .sources()
            .delete_source(gone)
            .await
            .expect("it was there");
        plane.create_source(clerk("three")).await.expect("a source");
        let mut open = watch(&plane, Some(&mark)).await;
        let (told, newest) = until_mark(&mut open).await;
        let deleted = format!("deleted {}", one.id);
        assert_eq!(told, ["changed two", "changed three", deleted.as_str()]);

        let foreign = v1::WatchMark {
            epoch: "another".to_owned(),
            ..newest
        };
        let mut open = watch(&plane, Some(&foreign)).await;
        let (told, _) = until_mark(&mut open).await;
        assert_eq!(told, ["reset", "changed two", "changed three"]);
    }
}

#[tokio::test]
async fn a_watch_holds_no_transaction_and_ends_with_the_process() {
    let plane = Plane::on_sqlite().await;
    // It is opened and never read.
    let idle = watch(&plane, None).await;
    for number in 0..20 {
        let made = plane
            .create_source(clerk(&format!("source {number}")))
            .await;
        made.expect("a reader that does not read holds nobody up");
    }
    let stopped = tokio::time::timeout(Duration::from_secs(20), plane.stop());
    stopped.await.expect("an open watch held up the stop");
    drop(idle);
}

#[tokio::test]
async fn one_key_cannot_take_the_room_of_all_watchers() {
    let plane = Plane::on_sqlite().await;
    let mut open = Vec::new();
    for _ in 0..32 {
        open.push(watch(&plane, None).await);
    }
    let more = v1::WatchSourcesRequest::default();
    let refused = plane.sources().watch_sources(more.clone()).await;
    let refused = refused.expect_err("the key has its share");
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
}
