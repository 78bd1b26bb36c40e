//! Connections that are paused: who may, what it means beside `disabled`, and what undoes it.

use hookplane_proto::v1;
use prost_types::FieldMask;
use tonic::Code;

use super::plane::{Plane, clerk, connection};

async fn connected(plane: &Plane) -> v1::Connection {
    let source = plane.create_source(clerk("Clerk")).await.expect("a source");
    let to = plane.create_destination("users").await;
    let asked = v1::CreateConnectionRequest {
        connection: Some(connection("users", &source.id, &to.id)),
        ..v1::CreateConnectionRequest::default()
    };
    let made = plane.connections().create_connection(asked).await;
    made.expect("it is right").into_inner()
}

async fn pause(plane: &Plane, id: &str) -> Result<v1::Connection, tonic::Status> {
    let asked = v1::PauseConnectionRequest {
        id: id.to_owned(),
        ..v1::PauseConnectionRequest::default()
    };
    Ok(plane
        .connections()
        .pause_connection(asked)
        .await?
        .into_inner())
}

async fn resume(plane: &Plane, id: &str, rate: u32) -> Result<v1::Connection, tonic::Status> {
    let asked = v1::UnpauseConnectionRequest {
        id: id.to_owned(),
        rate,
        ..v1::UnpauseConnectionRequest::default()
    };
    Ok(plane
        .connections()
        .unpause_connection(asked)
        .await?
        .into_inner())
}

#[tokio::test]
async fn a_pause_lasts_until_it_is_ended_and_applying_again_does_not_end_it() {
    for plane in Plane::on_each_database().await {
        let made = connected(&plane).await;
        let paused = pause(&plane, &made.id).await.expect("it is enabled");
        assert!(paused.paused_at.is_some() && paused.revision > made.revision);
        let again = pause(&plane, &made.id).await.expect("it is enabled");
        assert_eq!(again, paused, "pausing again changed something");

        let asked = v1::UpsertConnectionRequest {
            connection: Some(connection("users", &made.source_id, &made.destination_id)),
            ..v1::UpsertConnectionRequest::default()
        };
        let applied = plane.connections().upsert_connection(asked).await;
        let applied = applied.expect("it is right").into_inner();
        assert_eq!(applied.paused_at, paused.paused_at);

        let resumed = resume(&plane, &made.id, 50).await.expect("a rate");
        assert_eq!(resumed.paused_at, None);
        let drain = resumed.drain.expect("it drains at a rate");
        assert!(drain.rate == 50 && drain.resumed_at.is_some());
        let again = resume(&plane, &made.id, 7).await.expect("a rate");
        assert_eq!(again, resumed, "resuming what delivers changed its rate");
        let paused = pause(&plane, &made.id).await.expect("it is enabled");
        assert_eq!(paused.drain, None);
        let resumed = resume(&plane, &made.id, 0).await.expect("no rate");
        assert_eq!(resumed.drain, None);
    }
}

#[tokio::test]
async fn a_disabled_connection_is_not_paused_and_disabling_ends_a_pause() {
    let plane = Plane::on_sqlite().await;
    let made = connected(&plane).await;
    pause(&plane, &made.id).await.expect("it is enabled");
    let asked = v1::DisableConnectionRequest {
        id: made.id.clone(),
        ..v1::DisableConnectionRequest::default()
    };
    let off = plane.connections().disable_connection(asked).await;
    let off = off.expect("it exists").into_inner();
    assert!(off.disabled_at.is_some() && off.paused_at.is_none());
    let refused = pause(&plane, &made.id).await.expect_err("it is disabled");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("disabled"), "{refused}");
    let refused = resume(&plane, &made.id, 10_001).await.expect_err("a rate");
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_patch_of_paused_at_alone_pauses_and_leaves_the_rules_alone() {
    let plane = Plane::on_sqlite().await;
    let made = connected(&plane).await;
    for given in [Some(prost_types::Timestamp::default()), None] {
        let asked = v1::PatchConnectionRequest {
            id: made.id.clone(),
            connection: Some(v1::Connection {
                paused_at: given,
                ..v1::Connection::default()
            }),
            update_mask: Some(FieldMask {
                paths: vec!["paused_at".to_owned()],
            }),
            ..v1::PatchConnectionRequest::default()
        };
        let patched = plane.connections().patch_connection(asked).await;
        let patched = patched.expect("it is right").into_inner();
        assert_eq!(patched.paused_at.is_some(), given.is_some());
        assert_eq!(patched.rules, made.rules);
    }
}
