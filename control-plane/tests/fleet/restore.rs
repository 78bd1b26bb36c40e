//! A database that was restored from an older copy, and one of a newer release.

use std::path::Path;

use hookplane_control_plane::fleet::Timings;
use hookplane_control_plane::service::Call;
use hookplane_control_plane::store::Database;
use hookplane_control_plane::store::database::Birth;
use hookplane_proto::agent::v1::resource::Body;
use sea_orm::ConnectionTrait as _;

use crate::agent::{Got, Holding, TestAgent};
use crate::plane::Plane;

fn at(file: &Path) -> String {
    format!("sqlite://{}?mode=rwc", file.display())
}

/// A copy as docs/operations.md says to make it, while the control plane runs.
async fn back_up(plane: &Plane, to: &Path) {
    let database = sea_orm::Database::connect(plane.url()).await;
    let copy = format!("VACUUM INTO '{}'", to.display());
    let database = database.expect("it can be read");
    database.execute_unprepared(&copy).await.expect("a copy");
}

#[tokio::test]
async fn after_a_restore_agents_hold_what_the_copy_says_in_a_new_epoch() {
    let folder = tempfile::tempdir().expect("a folder");
    let plane = Plane::on(&at(&folder.path().join("a.db")), Timings::default()).await;
    let kept = plane.source("kept", "default").await;
    let deleted_later = plane.source("deleted later", "default").await;
    let agent = TestAgent::enrolled(&plane, "edge-1", "default").await;
    let mut talk = agent.configuration(Holding::default()).await;
    talk.apply().await;
    let copy = folder.path().join("copy.db");
    back_up(&plane, &copy).await;
    let made_later = plane.source("made later", "default").await;
    talk.apply().await;
    let sources = plane.sources();
    let deleted = sources
        .delete(&Call::of_team(&plane.team), &deleted_later.id)
        .await;
    deleted.expect("deleted");
    talk.apply().await;
    let held = talk.held.clone();
    assert!(
        held.resources
            .contains_key(&("source", made_later.id.clone()))
    );
    plane.stop().await;

    let plane = Plane::on(&at(&copy), Timings::default()).await;
    let agent = agent.dialling(&plane);
    let mut talk = agent.configuration(held.clone()).await;
    let mut both = vec![kept.id.clone(), deleted_later.id.clone()];
    both.sort();
    assert_eq!(
        talk.apply().await,
        Got::Snapshot(both, 1),
        "what the copy says"
    );
    assert_ne!(talk.held.epoch, held.epoch, "and not under the old name");
    let epoch = talk.held.epoch.clone();
    let shown = plane
        .shows(&agent.id, "the new epoch", |agent| agent.epoch == epoch)
        .await;
    assert_eq!(shown.digest, talk.held.digest());
    // An agent that comes with the old lineage later gets the same, whatever it held.
    let late = TestAgent::enrolled(&plane, "edge-2", "default").await;
    let mut talk = late.configuration(held).await;
    assert!(matches!(talk.apply().await, Got::Snapshot(..)));
    assert_eq!(talk.held.epoch, epoch, "one new epoch, not one per agent");
}

#[tokio::test]
async fn a_database_that_goes_back_under_a_running_replica_begins_another_epoch() {
    let plane = Plane::start().await;
    let kept = plane.source("kept", "default").await;
    let before = plane.config.head().await.expect("a head");
    let lost = plane.source("lost", "default").await;
    plane.touch(&kept, "lost too").await;
    let agent = TestAgent::enrolled(&plane, "edge-1", "default").await;
    let mut talk = agent.configuration(Holding::default()).await;
    talk.apply().await;
    // What a standby that was behind looks like after it took over.
    let database = sea_orm::Database::connect(plane.url()).await;
    let database = database.expect("it can be opened");
    for step in [
        format!("DELETE FROM sources WHERE id = '{}'", lost.id),
        format!("UPDATE installation SET revision = {}", before.revision),
    ] {
        database.execute_unprepared(&step).await.expect("a step");
    }
    // The very next revisions are those that the agent has under another meaning.
    plane.touch(&kept, "after the failover").await;
    let got = talk.apply().await;
    assert_eq!(got, Got::Snapshot(vec![kept.id.clone()], 1));
    assert_ne!(talk.held.epoch, before.epoch);
    let resource = &talk.held.resources[&("source", kept.id.clone())];
    let Some(Body::Source(group)) = &resource.body else {
        panic!("it is a source");
    };
    let source = group.source.clone().expect("a source");
    assert_eq!(source.description, "after the failover");
    let after = plane.config.head().await.expect("a head");
    assert_eq!(after.epoch, talk.held.epoch, "and it stays this one");
}

#[tokio::test]
async fn going_back_is_noticed_without_a_change() {
    let timings = Timings {
        refresh: std::time::Duration::from_millis(20),
        ..Timings::default()
    };
    let plane = Plane::with(timings).await;
    let kept = plane.source("kept", "default").await;
    let before = plane.config.head().await.expect("a head");
    plane.touch(&kept, "lost").await;
    let agent = TestAgent::enrolled(&plane, "edge-1", "default").await;
    let mut talk = agent.configuration(Holding::default()).await;
    talk.apply().await;
    let database = sea_orm::Database::connect(plane.url()).await;
    let back = format!("UPDATE installation SET revision = {}", before.revision);
    let database = database.expect("it can be opened");
    database.execute_unprepared(&back).await.expect("a step");
    assert_eq!(talk.apply().await, Got::Snapshot(vec![kept.id], 1));
    assert_ne!(talk.held.epoch, before.epoch);
}

#[tokio::test]
async fn a_copy_that_was_changed_past_the_agents_still_replaces_all_they_hold() {
    let folder = tempfile::tempdir().expect("a folder");
    let plane = Plane::on(&at(&folder.path().join("a.db")), Timings::default()).await;
    let kept = plane.source("kept", "default").await;
    let copy = folder.path().join("copy.db");
    back_up(&plane, &copy).await;
    plane.source("made later", "default").await;
    let agent = TestAgent::enrolled(&plane, "edge-1", "default").await;
    let mut talk = agent.configuration(Holding::default()).await;
    talk.apply().await;
    let held = talk.held.clone();
    plane.stop().await;

    // Nobody noticed the restore: the revisions of the copy went past the agent's.
    let plane = Plane::on(&at(&copy), Timings::default()).await;
    let other = plane.source("of the copy", "default").await;
    plane.touch(&other, "once more").await;
    let agent = TestAgent::enrolled(&plane, "edge-1", "default")
        .await
        .dialling(&plane);
    let mut talk = agent.configuration(held).await;
    let mut both = vec![kept.id, other.id];
    both.sort();
    assert_eq!(talk.apply().await, Got::Snapshot(both, 1));
}

#[tokio::test]
async fn a_database_of_a_newer_release_is_refused_with_what_to_do() {
    let plane = Plane::start().await;
    plane.stop().await;
    let database = sea_orm::Database::connect(plane.url()).await;
    let database = database.expect("it can be opened");
    let later = "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m9999_later', 1)";
    database.execute_unprepared(later).await.expect("a row");
    let birth = Birth {
        epoch: "e".to_owned(),
        team_id: "tm_x".to_owned(),
        now: 1,
    };
    let refused = Database::open(plane.url(), &birth).await;
    let refused = refused.expect_err("it is not opened").to_string();
    assert!(refused.contains("m9999_later"), "{refused}");
    assert!(refused.contains("newer release"), "{refused}");
    assert!(refused.contains("restore a backup"), "{refused}");
}
