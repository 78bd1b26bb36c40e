//! Keys of handlers: whom they are for, what they say of themselves, and how they end.

use hookplane_proto::v1;
use tonic::{Code, Status};

use super::audit;
use super::plane::{Plane, clerk};

async fn made(plane: &Plane, sources: &[&str]) -> Result<v1::HandlerKey, Status> {
    let asked = v1::CreateHandlerKeyRequest {
        name: "users".to_owned(),
        source_ids: sources.iter().map(|id| (*id).to_owned()).collect(),
    };
    let made = plane.handler_keys().create_handler_key(asked).await?;
    Ok(made.into_inner())
}

async fn get(plane: &Plane, id: &str) -> v1::HandlerKey {
    let asked = v1::GetHandlerKeyRequest { id: id.to_owned() };
    let got = plane.handler_keys().get_handler_key(asked).await;
    got.expect("it is there").into_inner()
}

async fn revoked(plane: &Plane, id: &str) -> v1::HandlerKey {
    let asked = v1::RevokeHandlerKeyRequest { id: id.to_owned() };
    let got = plane.handler_keys().revoke_handler_key(asked).await;
    got.expect("it is there").into_inner()
}

#[tokio::test]
async fn a_handlers_key_is_shown_once_recorded_and_revoked_for_good() {
    for plane in Plane::on_each_database().await {
        let source = plane.create_source(clerk("Clerk")).await.expect("a source");
        let key = made(&plane, &[&source.id, &source.id])
            .await
            .expect("a key");
        assert!(
            key.key.starts_with("hph_") && key.key.len() == 68,
            "{key:?}"
        );
        assert!(key.id.starts_with("phk_"), "{}", key.id);
        assert_eq!(key.source_ids, std::slice::from_ref(&source.id));
        assert!(
            key.revision > source.revision,
            "it has a revision of its own"
        );

        let again = get(&plane, &key.id).await;
        let hidden = v1::HandlerKey {
            key: String::new(),
            ..key.clone()
        };
        assert_eq!(again, hidden, "the secret is shown once");
        let ended = revoked(&plane, &key.id).await;
        assert_eq!(ended.status(), v1::HandlerKeyStatus::Revoked);
        assert!(ended.revision > key.revision && ended.revoked_at.is_some());
        assert_eq!(
            revoked(&plane, &key.id).await,
            ended,
            "again changes nothing"
        );

        let listed = v1::ListHandlerKeysRequest::default();
        let listed = plane.handler_keys().list_handler_keys(listed).await;
        assert_eq!(listed.expect("a page").into_inner().models, [ended]);
        let of_key = v1::ListAuditRequest {
            resource_id: key.id.clone(),
            ..v1::ListAuditRequest::default()
        };
        let record = audit::listed(&plane, of_key).await;
        assert_eq!(record.len(), 2, "made and revoked: {record:?}");
        assert!(
            record
                .iter()
                .all(|entry| entry.resource_type == "handler_key")
        );
        let shown = format!("{record:?}");
        assert!(!shown.contains(&key.key), "the record holds the secret");
        plane.stop().await;
    }
}

#[tokio::test]
async fn a_handlers_key_is_for_sources_that_there_are_and_forgets_those_that_go() {
    for plane in Plane::on_each_database().await {
        for (sources, fault) in [
            (&[][..], "at least one"),
            (&["src_none", "a\0b"], "no source"),
        ] {
            let refused = made(&plane, sources).await.expect_err("no such source");
            assert_eq!(refused.code(), Code::InvalidArgument);
            assert!(refused.message().contains(fault), "{}", refused.message());
        }
        let stays = plane.create_source(clerk("stays")).await.expect("a source");
        let goes = plane.create_source(clerk("goes")).await.expect("a source");
        let key = made(&plane, &[&stays.id, &goes.id]).await.expect("a key");
        let asked = v1::DeleteSourceRequest {
            id: goes.id,
            ..v1::DeleteSourceRequest::default()
        };
        let gone = plane.sources().delete_source(asked).await;
        gone.expect("keys of handlers do not hold a source");
        assert_eq!(get(&plane, &key.id).await.source_ids, [stays.id]);
        plane.stop().await;
    }
}

#[tokio::test]
async fn a_source_has_so_many_keys_in_force_and_no_more() {
    let plane = Plane::on_sqlite().await;
    let source = plane.create_source(clerk("Clerk")).await.expect("a source");
    let mut first = None;
    for _ in 0..32 {
        let key = made(&plane, &[&source.id]).await.expect("there is room");
        first.get_or_insert(key.id);
    }
    let refused = made(&plane, &[&source.id]).await.expect_err("it is full");
    assert!(
        refused.message().contains("revoke one"),
        "{}",
        refused.message()
    );
    revoked(&plane, &first.expect("one was made")).await;
    made(&plane, &[&source.id]).await.expect("one was revoked");
}
