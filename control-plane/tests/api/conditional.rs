//! Changes under conditions: for real or not, once, and on top of what was read.

use hookplane_proto::v1;
use tonic::Code;

use super::http::send;
use super::plane::{Plane, clerk};

async fn count(plane: &Plane) -> usize {
    let listed = plane
        .sources()
        .list_sources(v1::ListSourcesRequest::default())
        .await;
    listed.expect("a list").into_inner().models.len()
}

fn create(name: &str, request_id: &str) -> v1::CreateSourceRequest {
    v1::CreateSourceRequest {
        source: Some(clerk(name)),
        request_id: request_id.to_owned(),
        ..v1::CreateSourceRequest::default()
    }
}

#[tokio::test]
async fn who_changes_what_somebody_else_changed_meanwhile_is_refused() {
    for plane in Plane::on_each_database().await {
        let read = plane.create_source(clerk("Clerk")).await.expect("a source");
        assert!(!read.etag.is_empty());
        let replace = |source: v1::Source, etag: &str| v1::ReplaceSourceRequest {
            id: read.id.clone(),
            source: Some(source),
            etag: etag.to_owned(),
            ..v1::ReplaceSourceRequest::default()
        };
        let mut mine = read.clone();
        mine.description = "mine".to_owned();
        let first = plane.sources().replace_source(replace(mine, "")).await;
        let first = first.expect("nobody was faster").into_inner();
        assert_ne!(first.etag, read.etag, "the tag tells versions apart");

        let mut theirs = read.clone();
        theirs.description = "theirs".to_owned();
        let refused = plane.sources().replace_source(replace(theirs, "")).await;
        let refused = refused.expect_err("it carries the tag it was read with");
        assert_eq!(refused.code(), Code::Aborted);

        let mut bare = clerk("Clerk");
        bare.description = "on top".to_owned();
        let on_top = replace(bare.clone(), &first.etag);
        let done = plane.sources().replace_source(on_top).await;
        done.expect("it is on top of the newest");
        let late = replace(bare, &first.etag);
        let refused = plane.sources().replace_source(late).await;
        assert_eq!(refused.expect_err("the tag is old").code(), Code::Aborted);
        let gone = v1::DeleteSourceRequest {
            id: read.id.clone(),
            etag: read.etag.clone(),
            ..v1::DeleteSourceRequest::default()
        };
        let refused = plane.sources().delete_source(gone).await;
        assert_eq!(refused.expect_err("it changed").code(), Code::Aborted);
    }
}

#[tokio::test]
async fn a_dry_run_is_judged_like_the_real_thing_and_leaves_nothing() {
    for plane in Plane::on_each_database().await {
        let mut asked = create("Clerk", "once");
        asked.validate_only = true;
        let would = plane.sources().create_source(asked.clone()).await;
        let would = would.expect("it would be right").into_inner();
        assert_eq!(would.name, "Clerk");
        assert_eq!(count(&plane).await, 0, "it was made");
        if let Some(source) = &mut asked.source {
            source.name = String::new();
        }
        let refused = plane.sources().create_source(asked).await;
        let refused = refused.expect_err("it has no name");
        assert_eq!(refused.code(), Code::InvalidArgument);
        // The dry run was not remembered as the answer of the real call.
        let made = plane.sources().create_source(create("Clerk", "once")).await;
        made.expect("it is made now");
        assert_eq!(count(&plane).await, 1);
    }
}

#[tokio::test]
async fn a_call_sent_again_with_its_id_is_made_once_and_answered_alike() {
    for plane in Plane::on_each_database().await {
        let first = plane.sources().create_source(create("Clerk", "r-1")).await;
        let first = first.expect("it is right").into_inner();
        let again = plane.sources().create_source(create("Clerk", "r-1")).await;
        assert_eq!(again.expect("the same answer").into_inner(), first);
        assert_eq!(count(&plane).await, 1);
        let other = plane.sources().create_source(create("Other", "r-1")).await;
        let other = other.expect_err("another call has this id");
        assert_eq!(other.code(), Code::AlreadyExists);
        // The answer of another method has another form.
        let apply = v1::ApplyConfigurationRequest {
            sources: vec![clerk("Other")],
            request_id: "r-1".to_owned(),
            ..v1::ApplyConfigurationRequest::default()
        };
        let other = plane.configuration().apply_configuration(apply).await;
        let other = other.expect_err("another call has this id");
        assert_eq!(other.code(), Code::AlreadyExists);

        // What changes nothing is remembered too, and takes no revision.
        let upsert = v1::UpsertSourceRequest {
            source: Some(clerk("Clerk")),
            request_id: "r-2".to_owned(),
            ..v1::UpsertSourceRequest::default()
        };
        let same = plane.sources().upsert_source(upsert.clone()).await;
        assert_eq!(same.expect("nothing to do").into_inner(), first);
        let delete = v1::DeleteSourceRequest {
            id: first.id.clone(),
            request_id: "r-3".to_owned(),
            ..v1::DeleteSourceRequest::default()
        };
        for _ in 0..2 {
            let gone = plane.sources().delete_source(delete.clone()).await;
            assert_eq!(gone.expect("it was there").into_inner().id, first.id);
        }
        let answered = plane.sources().upsert_source(upsert).await;
        assert_eq!(answered.expect("as before").into_inner(), first);
        assert_eq!(count(&plane).await, 0, "a call sent again was made again");
    }
}

#[tokio::test]
async fn over_rest_the_same_stands_in_headers() {
    let plane = Plane::on_sqlite().await;
    let made = plane.create_source(clerk("Clerk")).await.expect("a source");
    let path = format!("/v1/sources/{}", made.id);
    let etag = format!("\"{}\"", made.etag);
    let (status, headers, _) = send(&plane, "GET", &path, &[], "").await;
    assert_eq!((status, headers["etag"].as_bytes()), (200, etag.as_bytes()));
    let body = r#"{"description": "changed"}"#;
    let conditions = [("if-match", etag.as_str())];
    let (status, _, _) = send(&plane, "PATCH", &path, &conditions, body).await;
    assert_eq!(status, 200);
    let (status, _, refused) = send(&plane, "PATCH", &path, &conditions, body).await;
    assert_eq!(
        (status, &refused["code"]),
        (412, &"RESOURCE_CHANGED".into())
    );

    let body = r#"{"name": "other"}"#;
    let once = [("idempotency-key", "a-1")];
    let (_, _, first) = send(&plane, "POST", "/v1/destinations", &once, DESTINATION).await;
    let (_, _, again) = send(&plane, "POST", "/v1/destinations", &once, DESTINATION).await;
    assert_eq!(first["id"], again["id"]);
    let (status, _, refused) = send(&plane, "POST", "/v1/destinations", &once, body).await;
    assert_eq!(
        (status, &refused["code"]),
        (409, &"REQUEST_ID_REUSED".into())
    );
    let dry = "/v1/destinations?validate_only=true";
    let (status, _, _) = send(&plane, "POST", dry, &[], OTHER).await;
    assert_eq!(status, 200);
    let (_, _, listed) = send(&plane, "GET", "/v1/destinations", &[], "").await;
    assert_eq!(listed["count"], 1);
}

#[tokio::test]
async fn an_etag_of_what_is_gone_creates_nothing() {
    for plane in Plane::on_each_database().await {
        let upsert = |etag: &str| v1::UpsertSourceRequest {
            source: Some(clerk("Clerk")),
            etag: etag.to_owned(),
            ..v1::UpsertSourceRequest::default()
        };
        for etag in ["src_1-1-1", "*"] {
            let refused = plane.sources().upsert_source(upsert(etag)).await;
            let refused = refused.expect_err("there is nothing that has it");
            assert_eq!(refused.code(), Code::Aborted);
        }
        assert_eq!(count(&plane).await, 0);
        let made = plane.sources().upsert_source(upsert("")).await;
        let made = made.expect("it is made").into_inner();
        for etag in [made.etag.as_str(), "*"] {
            let kept = plane.sources().upsert_source(upsert(etag)).await;
            kept.expect("it is there");
        }
    }
}

#[tokio::test]
async fn an_apply_is_made_on_top_of_the_etags_inside_it() {
    for plane in Plane::on_each_database().await {
        let read = plane.create_source(clerk("Clerk")).await.expect("a source");
        let apply = |etag: &str, description: &str| {
            let mut source = clerk("Clerk");
            source.etag = etag.to_owned();
            source.description = description.to_owned();
            v1::ApplyConfigurationRequest {
                sources: vec![source],
                ..v1::ApplyConfigurationRequest::default()
            }
        };
        let mut api = plane.configuration();
        let done = api.apply_configuration(apply(&read.etag, "mine")).await;
        done.expect("nobody was faster");
        let refused = api.apply_configuration(apply(&read.etag, "theirs")).await;
        let refused = refused.expect_err("it was changed meanwhile");
        assert_eq!(refused.code(), Code::Aborted);
        let mut new = apply("src_1-1-1", "");
        new.sources[0].name = "gone".to_owned();
        let refused = api.apply_configuration(new).await;
        let refused = refused.expect_err("there is nothing that has it");
        assert_eq!(refused.code(), Code::Aborted);
        assert_eq!(count(&plane).await, 1);
    }
}

#[tokio::test]
async fn an_apply_sent_again_with_its_id_is_answered_with_its_plan() {
    for plane in Plane::on_each_database().await {
        let apply = v1::ApplyConfigurationRequest {
            sources: vec![clerk("Clerk")],
            request_id: "a-1".to_owned(),
            ..v1::ApplyConfigurationRequest::default()
        };
        let mut api = plane.configuration();
        let first = api.apply_configuration(apply.clone()).await;
        let first = first.expect("it is right").into_inner();
        assert_eq!(first.pools, ["default"]);
        assert_eq!(first.changes[0].action(), v1::ChangeAction::Create);
        let again = api.apply_configuration(apply).await;
        assert_eq!(again.expect("the same answer").into_inner(), first);
    }
}

#[tokio::test]
async fn over_rest_a_condition_that_cannot_be_looked_at_is_refused() {
    let plane = Plane::on_sqlite().await;
    let any = [("if-match", "*")];
    let (status, _, told) = send(&plane, "POST", "/v1/destinations", &any, DESTINATION).await;
    assert_eq!(status, 400, "{told}");
    let (status, _, told) = send(&plane, "PUT", "/v1/destinations", &any, DESTINATION).await;
    assert_eq!((status, &told["code"]), (412, &"RESOURCE_CHANGED".into()));
}

const DESTINATION: &str = r#"{"name": "users", "config": {"url": "https://users.internal/"}}"#;
const OTHER: &str = r#"{"name": "others", "config": {"url": "https://others.internal/"}}"#;
