//! The life of sources, destinations and connections, on each database.

use hookplane_proto::v1;
use prost_types::FieldMask;
use tonic::Code;

use super::plane::{Plane, clerk, connection, destination};

#[tokio::test]
async fn a_source_is_created_read_changed_and_deleted() {
    for plane in Plane::on_each_database().await {
        let made = plane
            .create_source(clerk("Clerk production"))
            .await
            .expect("it is right");
        assert!(made.id.starts_with("src_"), "{}", made.id);
        assert_eq!(made.url, format!("http://127.0.0.1:8088/{}", made.id));
        assert_eq!(made.status, i32::from(v1::SourceStatus::Enabled));
        let config = made.config.clone().expect("defaults are shown");
        assert_eq!(
            config.allowed_http_methods,
            ["POST", "PUT", "PATCH", "DELETE"]
        );
        assert_eq!(
            (config.max_body_bytes, config.tolerance_seconds),
            (1 << 20, 300)
        );

        let id = made.id.clone();
        let got = plane
            .sources()
            .get_source(v1::GetSourceRequest { id: id.clone() })
            .await;
        assert_eq!(got.expect("it is there").into_inner(), made);

        let patch = v1::PatchSourceRequest {
            id: id.clone(),
            source: Some(v1::Source {
                description: "users and sessions".to_owned(),
                ..v1::Source::default()
            }),
            update_mask: Some(FieldMask {
                paths: vec!["description".to_owned()],
            }),
            ..v1::PatchSourceRequest::default()
        };
        let patched = plane
            .sources()
            .patch_source(patch)
            .await
            .expect("it is right")
            .into_inner();
        assert_eq!(patched.description, "users and sessions");
        assert_eq!(
            patched.config, made.config,
            "a patch of one field changed others"
        );
        assert!(
            patched.revision > made.revision,
            "a change takes a revision"
        );

        let gone = plane
            .sources()
            .delete_source(v1::DeleteSourceRequest {
                id: id.clone(),
                ..v1::DeleteSourceRequest::default()
            })
            .await;
        assert_eq!(gone.expect("nothing refers to it").into_inner().id, id);
        let got = plane
            .sources()
            .get_source(v1::GetSourceRequest { id })
            .await;
        assert_eq!(got.expect_err("it is deleted").code(), Code::NotFound);
    }
}

#[tokio::test]
async fn an_upsert_creates_once_and_then_replaces_and_what_changes_nothing_takes_no_revision() {
    for plane in Plane::on_each_database().await {
        let upsert = async |source: v1::Source| {
            let source = Some(source);
            let done = plane
                .sources()
                .upsert_source(v1::UpsertSourceRequest {
                    source,
                    ..v1::UpsertSourceRequest::default()
                })
                .await;
            done.expect("it is right").into_inner()
        };
        let made = upsert(clerk("Clerk")).await;
        let again = upsert(clerk("Clerk")).await;
        assert_eq!(
            again, made,
            "an upsert that changes nothing changed something"
        );
        let mut other = clerk("Clerk");
        other.environment = "production".to_owned();
        let changed = upsert(other).await;
        assert_eq!(
            (&changed.id, changed.created_at),
            (&made.id, made.created_at)
        );
        assert_eq!(changed.environment, "production");
    }
}

#[tokio::test]
async fn applying_again_does_not_enable_what_an_operator_disabled() {
    let plane = Plane::on_sqlite().await;
    let made = plane
        .create_source(clerk("Clerk"))
        .await
        .expect("it is right");
    let id = made.id.clone();
    let off = plane
        .sources()
        .disable_source(v1::DisableSourceRequest {
            id: id.clone(),
            ..v1::DisableSourceRequest::default()
        })
        .await;
    let off = off.expect("it exists").into_inner();
    assert!(off.disabled_at.is_some());
    assert_eq!(off.status, i32::from(v1::SourceStatus::Disabled));
    let source = Some(clerk("Clerk"));
    let applied = plane
        .sources()
        .upsert_source(v1::UpsertSourceRequest {
            source,
            ..v1::UpsertSourceRequest::default()
        })
        .await;
    assert!(
        applied
            .expect("it is right")
            .into_inner()
            .disabled_at
            .is_some()
    );
    let on = plane
        .sources()
        .enable_source(v1::EnableSourceRequest {
            id: id.clone(),
            ..v1::EnableSourceRequest::default()
        })
        .await;
    assert!(on.expect("it exists").into_inner().disabled_at.is_none());
    let patch = v1::PatchSourceRequest {
        id,
        source: Some(v1::Source {
            status: v1::SourceStatus::Disabled.into(),
            ..v1::Source::default()
        }),
        update_mask: Some(FieldMask {
            paths: vec!["status".to_owned()],
        }),
        ..v1::PatchSourceRequest::default()
    };
    let patched = plane
        .sources()
        .patch_source(patch)
        .await
        .expect("it is right");
    assert!(patched.into_inner().disabled_at.is_some());
}

#[tokio::test]
async fn lists_come_in_pages_that_neither_skip_nor_repeat() {
    for plane in Plane::on_each_database().await {
        for number in 0..7 {
            let name = format!("source {number}");
            plane
                .create_source(clerk(&name))
                .await
                .expect("it is right");
        }
        for (order_by, dir) in [
            ("created_at", "desc"),
            ("created_at", "asc"),
            ("name", "asc"),
        ] {
            let mut names = Vec::new();
            let mut token = String::new();
            loop {
                let asked = v1::ListSourcesRequest {
                    limit: 3,
                    page_token: token,
                    order_by: order_by.to_owned(),
                    dir: dir.to_owned(),
                    name: String::new(),
                };
                let page = plane
                    .sources()
                    .list_sources(asked)
                    .await
                    .expect("a page")
                    .into_inner();
                assert_eq!(page.count as usize, page.models.len());
                names.extend(page.models.into_iter().map(|source| source.name));
                token = page.pagination.expect("it tells how it was cut").next;
                if token.is_empty() {
                    break;
                }
            }
            let mut wanted: Vec<_> = (0..7).map(|number| format!("source {number}")).collect();
            if dir == "desc" {
                wanted.reverse();
            }
            assert_eq!(names, wanted, "ordered by {order_by} {dir}");
        }
    }
}

#[tokio::test]
async fn a_connection_shows_its_ends_and_keeps_them_from_being_deleted() {
    for plane in Plane::on_each_database().await {
        let source = plane
            .create_source(clerk("Clerk"))
            .await
            .expect("it is right");
        let to = plane.create_destination("users").await;
        let wanted = connection("users", &source.id, &to.id);
        let asked = v1::CreateConnectionRequest {
            connection: Some(wanted),
            ..v1::CreateConnectionRequest::default()
        };
        let made = plane
            .connections()
            .create_connection(asked)
            .await
            .expect("it is right");
        let made = made.into_inner();
        assert_eq!(
            made.source.as_ref().map(|from| from.name.as_str()),
            Some("Clerk")
        );
        assert_eq!(
            made.destination.as_ref().map(|to| to.name.as_str()),
            Some("users")
        );

        let id = source.id.clone();
        let used = plane
            .sources()
            .delete_source(v1::DeleteSourceRequest {
                id,
                ..v1::DeleteSourceRequest::default()
            })
            .await;
        assert_eq!(
            used.expect_err("it is used").code(),
            Code::FailedPrecondition
        );
        let id = to.id.clone();
        let asked = v1::DeleteDestinationRequest {
            id,
            ..v1::DeleteDestinationRequest::default()
        };
        let used = plane.destinations().delete_destination(asked.clone()).await;
        assert_eq!(
            used.expect_err("it is used").code(),
            Code::FailedPrecondition
        );

        let id = made.id;
        let gone = plane
            .connections()
            .delete_connection(v1::DeleteConnectionRequest {
                id,
                ..v1::DeleteConnectionRequest::default()
            })
            .await;
        gone.expect("nothing refers to a connection");
        plane
            .destinations()
            .delete_destination(asked)
            .await
            .expect("nobody uses it now");
    }
}

#[tokio::test]
async fn connections_are_upserted_by_source_and_name_or_by_id() {
    let plane = Plane::on_sqlite().await;
    let one = plane
        .create_source(clerk("one"))
        .await
        .expect("it is right");
    let two = plane
        .create_source(clerk("two"))
        .await
        .expect("it is right");
    let to = plane.create_destination("users").await;
    let upsert = async |connection: v1::Connection| {
        let connection = Some(connection);
        let asked = v1::UpsertConnectionRequest {
            connection,
            ..v1::UpsertConnectionRequest::default()
        };
        plane
            .connections()
            .upsert_connection(asked)
            .await
            .map(tonic::Response::into_inner)
    };
    let first = upsert(connection("users", &one.id, &to.id))
        .await
        .expect("it is right");
    let other = upsert(connection("users", &two.id, &to.id))
        .await
        .expect("another source");
    assert_ne!(
        first.id, other.id,
        "the same name on another source is another connection"
    );
    let mut renamed = connection("members", &one.id, &to.id);
    renamed.id.clone_from(&first.id);
    let renamed = upsert(renamed).await.expect("it is right");
    assert_eq!(
        (renamed.id.as_str(), renamed.name.as_str()),
        (first.id.as_str(), "members")
    );
    let mut moved = connection("members", &two.id, &to.id);
    moved.id.clone_from(&first.id);
    let refused = upsert(moved)
        .await
        .expect_err("a connection stays with its source");
    assert!(
        refused.message().starts_with("source_id:"),
        "{}",
        refused.message()
    );
}

#[tokio::test]
async fn configuration_survives_a_restart() {
    for plane in Plane::on_each_database().await {
        let source = plane
            .create_source(clerk("Clerk"))
            .await
            .expect("it is right");
        plane.create_destination("users").await;
        let plane = plane.restart().await;
        let id = source.id.clone();
        let got = plane
            .sources()
            .get_source(v1::GetSourceRequest { id })
            .await;
        assert_eq!(got.expect("it is kept").into_inner(), source);
        let taken = v1::CreateDestinationRequest {
            destination: Some(destination("users")),
            ..v1::CreateDestinationRequest::default()
        };
        let refused = plane.destinations().create_destination(taken).await;
        assert_eq!(
            refused.expect_err("the name is taken").code(),
            Code::AlreadyExists
        );
    }
}

#[tokio::test]
async fn many_writers_at_once_all_succeed_with_revisions_of_their_own() {
    for plane in Plane::on_each_database().await {
        let writers = (0..24).map(|number| {
            let mut client = plane.sources();
            async move {
                let source = Some(clerk(&format!("source {number}")));
                client
                    .create_source(v1::CreateSourceRequest {
                        source,
                        ..v1::CreateSourceRequest::default()
                    })
                    .await
            }
        });
        let made = futures::future::join_all(writers).await;
        let mut revisions: Vec<u64> = made
            .into_iter()
            .map(|made| {
                made.expect("writers wait for each other")
                    .into_inner()
                    .revision
            })
            .collect();
        revisions.sort_unstable();
        revisions.dedup();
        assert_eq!(revisions.len(), 24, "two changes share a revision");
    }
}

#[tokio::test]
async fn a_patch_of_disabled_at_disables_and_enables_every_kind() {
    let plane = Plane::on_sqlite().await;
    let source = plane.create_source(clerk("Clerk")).await.expect("right");
    let to = plane.create_destination("users").await;
    let connection = Some(connection("users", &source.id, &to.id));
    let asked = v1::CreateConnectionRequest {
        connection,
        ..v1::CreateConnectionRequest::default()
    };
    let made = plane.connections().create_connection(asked).await;
    let made = made.expect("right").into_inner();
    let mask = || {
        Some(FieldMask {
            paths: vec!["disabled_at".to_owned()],
        })
    };
    for given in [Some(prost_types::Timestamp::default()), None] {
        let asked = v1::PatchSourceRequest {
            id: source.id.clone(),
            source: Some(v1::Source {
                disabled_at: given,
                ..v1::Source::default()
            }),
            update_mask: mask(),
            ..v1::PatchSourceRequest::default()
        };
        let patched = plane.sources().patch_source(asked).await.expect("right");
        let patched = patched.into_inner();
        assert_eq!(patched.disabled_at.is_some(), given.is_some());
        assert_eq!(
            patched.status == i32::from(v1::SourceStatus::Disabled),
            given.is_some()
        );
        let asked = v1::PatchDestinationRequest {
            id: to.id.clone(),
            destination: Some(v1::Destination {
                disabled_at: given,
                ..v1::Destination::default()
            }),
            update_mask: mask(),
            ..v1::PatchDestinationRequest::default()
        };
        let patched = plane.destinations().patch_destination(asked).await;
        let patched = patched.expect("right").into_inner();
        assert_eq!(patched.disabled_at.is_some(), given.is_some());
        let asked = v1::PatchConnectionRequest {
            id: made.id.clone(),
            connection: Some(v1::Connection {
                disabled_at: given,
                ..v1::Connection::default()
            }),
            update_mask: mask(),
            ..v1::PatchConnectionRequest::default()
        };
        let patched = plane.connections().patch_connection(asked).await;
        let patched = patched.expect("right").into_inner();
        assert_eq!(patched.disabled_at.is_some(), given.is_some());
    }
    // A status that is named decides.
    let asked = v1::PatchSourceRequest {
        id: source.id.clone(),
        source: Some(v1::Source {
            status: v1::SourceStatus::Disabled.into(),
            ..v1::Source::default()
        }),
        update_mask: Some(FieldMask {
            paths: vec!["status".to_owned(), "disabled_at".to_owned()],
        }),
        ..v1::PatchSourceRequest::default()
    };
    let patched = plane.sources().patch_source(asked).await.expect("right");
    assert!(patched.into_inner().disabled_at.is_some());
}
