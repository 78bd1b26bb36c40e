//! A return among the ordinary edits of other people: it succeeds, and touches only its own.

use hookplane_control_plane::domain::Source;
use hookplane_control_plane::service::Call;
use hookplane_proto::v1::{self, RolloutState};
use tonic::Code;

use crate::plane::Plane;
use crate::rollouts::{Scene, newest};

/// A source that everyone has, with a change of it on hold.
async fn held() -> (Scene, Source) {
    let scene = Scene::with_hold(0).await;
    let plane = &scene.plane;
    let source = plane.source("ours", "default").await;
    promote(plane, 0).await.expect("promoted");
    plane.touch(&source, "on hold").await;
    (scene, source)
}

async fn promote(plane: &Plane, revision: u64) -> Result<v1::Rollout, tonic::Status> {
    let promote = v1::PromoteRolloutRequest {
        id: newest(plane).await.id,
        revision,
        ..v1::PromoteRolloutRequest::default()
    };
    let ended = plane.rollouts().promote_rollout(promote).await;
    ended.map(tonic::Response::into_inner)
}

async fn give_back(plane: &Plane) -> v1::Rollout {
    let back = v1::ReturnRolloutRequest {
        id: newest(plane).await.id,
        ..v1::ReturnRolloutRequest::default()
    };
    let ended = plane.rollouts().return_rollout(back).await;
    let ended = ended.expect("returned").into_inner();
    assert_eq!(ended.state(), RolloutState::Returned);
    ended
}

#[tokio::test]
async fn what_other_pools_change_during_a_hold_neither_joins_nor_returns() {
    let (scene, ours) = held().await;
    let plane = &scene.plane;
    let before = scene.rollout().await;
    let theirs = plane.source("theirs", "elsewhere").await;
    let (to, _) = plane.connect(&theirs, "billing").await;
    plane.limit(&to, 7).await;
    let filter = plane.filter("invoices", "/invoices").await;
    let filter = plane.filter(&filter.spec.name, "/paid").await;
    let during = scene.rollout().await;
    assert_eq!(
        during.revision, before.revision,
        "the hold goes on as it was"
    );
    assert_eq!(during.resources, before.resources);
    let ended = give_back(plane).await;
    let stored = plane.config.destination(&plane.team, &to.id).await;
    let stored = stored.expect("read").expect("it was never part of it");
    assert!(stored.revision < ended.ended_revision, "nobody wrote it");
    let stored = plane.config.filter(&plane.team, &filter.id).await;
    let stored = stored.expect("read").expect("it was never part of it");
    assert_eq!(stored.spec.conditions, filter.spec.conditions);
    let stored = plane.config.source(&plane.team, &ours.id).await;
    assert_eq!(stored.expect("read").expect("there").spec.description, "");
}

#[tokio::test]
async fn a_return_leaves_a_new_destination_that_others_use_by_now() {
    let (scene, ours) = held().await;
    let plane = &scene.plane;
    let (shared, on_hold) = plane.connect(&ours, "shared").await;
    let (alone, _) = plane.connect(&ours, "alone").await;
    let theirs = plane.source("theirs", "elsewhere").await;
    let kept = plane.connect_to(&theirs, &shared, "kept").await;
    give_back(plane).await;
    let team = &plane.team;
    let there = plane.config.connection(team, &kept.id).await;
    assert!(
        there.expect("read").is_some(),
        "it is no part of the rollout"
    );
    let there = plane.config.connection(team, &on_hold.id).await;
    assert!(there.expect("read").is_none(), "it was new");
    let there = plane.config.destination(team, &shared.id).await;
    let there = there.expect("read").expect("others deliver to it");
    assert_eq!(there.spec.name, "shared");
    let there = plane.config.destination(team, &alone.id).await;
    assert!(there.expect("read").is_none(), "nobody else uses it");
}

#[tokio::test]
async fn a_name_that_was_taken_meanwhile_comes_back_with_a_suffix() {
    let (scene, ours) = held().await;
    let plane = &scene.plane;
    plane.rename(&ours, "renamed").await;
    let theirs = plane.source("ours", "elsewhere").await;
    let ended = give_back(plane).await;
    let team = &plane.team;
    let back = plane.config.source(team, &ours.id).await;
    let back = back.expect("read").expect("there");
    assert_eq!(back.spec.name, "ours-returned");
    let told = format!("the name of the source {} was taken", ours.id);
    assert!(ended.reason.contains(&told), "{}", ended.reason);
    let there = plane.config.source(team, &theirs.id).await;
    assert_eq!(there.expect("read").expect("there").spec.name, "ours");
}

#[tokio::test]
async fn a_connection_comes_back_with_its_destination_that_somebody_deleted_since() {
    let scene = Scene::with_hold(0).await;
    let plane = &scene.plane;
    let ours = plane.source("ours", "default").await;
    let (to, connection) = plane.connect(&ours, "billing").await;
    promote(plane, 0).await.expect("promoted");
    plane.disconnect(&connection).await;
    let call = Call::of_team(&plane.team);
    let deleted = plane.destinations().delete(&call, &to.id).await;
    deleted.expect("nothing uses it now");
    give_back(plane).await;
    let team = &plane.team;
    let there = plane.config.connection(team, &connection.id).await;
    assert!(there.expect("read").is_some());
    let there = plane.config.destination(team, &to.id).await;
    assert!(there.expect("read").is_some(), "it does not come alone");
}

#[tokio::test]
async fn who_looked_at_an_older_revision_ends_nothing() {
    let (scene, ours) = held().await;
    let plane = &scene.plane;
    let looked_at = scene.rollout().await.revision;
    plane.touch(&ours, "joined since").await;
    let refused = promote(plane, looked_at).await;
    assert_eq!(refused.expect_err("another change").code(), Code::Aborted);
    let now = scene.rollout().await;
    assert_eq!(now.state(), RolloutState::Holding);
    let ended = promote(plane, now.revision).await.expect("promoted");
    assert_eq!(ended.state(), RolloutState::Promoted);
}
