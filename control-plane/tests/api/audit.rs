//! The audit record: who changed what, whole, in order and without secrets.

use hookplane_proto::v1;
use hookplane_proto::v1::audit_service_client::AuditServiceClient;
use sea_orm::ConnectionTrait as _;
use tonic::Code;

use super::plane::{Authorised, Plane, SECRET, clerk, provider_auth};

fn audit(plane: &Plane) -> AuditServiceClient<Authorised> {
    AuditServiceClient::with_interceptor(plane.channel.clone(), Plane::bearer(&plane.key))
}

pub(crate) async fn listed(plane: &Plane, asked: v1::ListAuditRequest) -> Vec<v1::AuditEntry> {
    let page = audit(plane).list_audit(asked).await.expect("a page");
    page.into_inner().models
}

async fn checked(plane: &Plane) -> v1::VerifyAuditResponse {
    let asked = v1::VerifyAuditRequest::default();
    let checked = audit(plane).verify_audit(asked).await;
    checked.expect("it answers").into_inner()
}

async fn execute(plane: &Plane, statement: &str) {
    let database = sea_orm::Database::connect(&plane.database).await;
    let database = database.expect("it opens");
    let done = database.execute_unprepared(statement).await;
    done.expect("the statement is right");
}

/// A source that was made, renamed and deleted: entries 2 to 4, after the first key's.
async fn life_of_a_source(plane: &Plane) -> String {
    let made = plane.create_source(clerk("Clerk")).await.expect("right");
    let mut renamed = made.clone();
    renamed.name = "Clerk of the crown".to_owned();
    let asked = v1::ReplaceSourceRequest {
        id: made.id.clone(),
        source: Some(renamed),
        ..v1::ReplaceSourceRequest::default()
    };
    plane.sources().replace_source(asked).await.expect("right");
    let id = made.id.clone();
    let asked = v1::DeleteSourceRequest {
        id,
        ..v1::DeleteSourceRequest::default()
    };
    plane.sources().delete_source(asked).await.expect("right");
    made.id
}

#[tokio::test]
async fn every_change_is_recorded_with_who_and_before_and_after() {
    for plane in Plane::on_each_database().await {
        let id = life_of_a_source(&plane).await;
        let of_source = v1::ListAuditRequest {
            resource_id: id,
            ..v1::ListAuditRequest::default()
        };
        let entries = listed(&plane, of_source).await;
        let actions: Vec<_> = entries.iter().map(|entry| entry.action.as_str()).collect();
        assert_eq!(actions, ["delete", "update", "create"]);
        let [deleted, updated, created] = &entries[..] else {
            panic!("three entries");
        };
        assert_eq!(updated.key_name, "first key");
        assert!(updated.key_id.starts_with("pak_"));
        assert!(updated.revision > created.revision && created.revision > 0);
        let shown = |value: &Option<prost_types::Value>| format!("{value:?}");
        assert!(shown(&updated.before).contains("\"Clerk\""));
        assert!(shown(&updated.after).contains("Clerk of the crown"));
        assert!(created.before.is_none() && deleted.after.is_none());
        assert!(!updated.secrets_changed, "only the name changed");
        let everything = format!("{entries:?}");
        assert!(!everything.contains(&SECRET[6..]), "it holds a secret");
    }
}

#[tokio::test]
async fn a_changed_secret_is_told_without_being_shown() {
    let plane = Plane::on_sqlite().await;
    let mut made = plane.create_source(clerk("Clerk")).await.expect("right");
    let other = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    made.config.get_or_insert_default().auth = Some(provider_auth(&[other]));
    let asked = v1::ReplaceSourceRequest {
        id: made.id.clone(),
        source: Some(made),
        ..v1::ReplaceSourceRequest::default()
    };
    plane.sources().replace_source(asked).await.expect("right");
    let newest = listed(&plane, v1::ListAuditRequest::default())
        .await
        .remove(0);
    assert!(newest.secrets_changed);
    assert!(!format!("{newest:?}").contains(&other[6..]));
}

#[tokio::test]
async fn what_was_refused_or_changed_nothing_is_not_in_the_record() {
    let plane = Plane::on_sqlite().await;
    let made = plane.create_source(clerk("Clerk")).await.expect("right");
    let before = checked(&plane).await.sequence;
    let taken = plane.create_source(clerk("Clerk")).await;
    assert_eq!(
        taken.expect_err("the name is taken").code(),
        Code::AlreadyExists
    );
    let asked = v1::ReplaceSourceRequest {
        id: made.id.clone(),
        source: Some(made),
        ..v1::ReplaceSourceRequest::default()
    };
    plane.sources().replace_source(asked).await.expect("right");
    assert_eq!(checked(&plane).await.sequence, before);
}

#[tokio::test]
async fn pages_follow_each_other_and_filters_narrow() {
    let plane = Plane::on_sqlite().await;
    life_of_a_source(&plane).await;
    let mut asked = v1::ListAuditRequest {
        limit: 1,
        ..v1::ListAuditRequest::default()
    };
    let mut sequences = Vec::new();
    loop {
        let page = audit(&plane)
            .list_audit(asked.clone())
            .await
            .expect("a page");
        let page = page.into_inner();
        sequences.extend(page.models.iter().map(|entry| entry.sequence));
        asked.page_token = page.pagination.unwrap_or_default().next;
        if asked.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(sequences, [4, 3, 2, 1]);
    let keys = v1::ListAuditRequest {
        resource_type: "api_key".to_owned(),
        from: "now-1h".to_owned(),
        ..v1::ListAuditRequest::default()
    };
    let keys = listed(&plane, keys).await;
    assert_eq!(keys.len(), 1, "the first key was made by the control plane");
    assert_eq!(keys[0].key_id, "");
    let earlier = v1::ListAuditRequest {
        to: "now-1h".to_owned(),
        ..v1::ListAuditRequest::default()
    };
    assert_eq!(listed(&plane, earlier).await, []);
}

#[tokio::test]
async fn whoever_changes_the_record_in_the_database_is_found_out() {
    let tampering = [
        (
            "UPDATE audit_entries SET key_name = 'somebody else' WHERE sequence = 2",
            2,
        ),
        (
            "UPDATE audit_entries SET after_state = '{}' WHERE sequence = 3",
            3,
        ),
        ("UPDATE audit_entries SET at = at + 1 WHERE sequence = 1", 1),
        ("DELETE FROM audit_entries WHERE sequence = 2", 2),
        ("DELETE FROM audit_entries WHERE sequence = 4", 4),
    ];
    for (statement, broken) in tampering {
        for plane in Plane::on_each_database().await {
            life_of_a_source(&plane).await;
            let whole = checked(&plane).await;
            assert_eq!(
                (whole.sequence, whole.complete),
                (4, true),
                "{}",
                whole.fault
            );
            execute(&plane, statement).await;
            let found = checked(&plane).await;
            assert!(!found.complete, "{statement} is not found");
            assert_eq!(
                found.broken_sequence, broken,
                "{statement}: {}",
                found.fault
            );
        }
    }
}

#[tokio::test]
async fn a_record_that_was_cut_off_with_its_end_does_not_fit_an_earlier_check() {
    let plane = Plane::on_sqlite().await;
    life_of_a_source(&plane).await;
    let kept = checked(&plane).await;
    execute(
        &plane,
        "UPDATE teams SET audit_sequence = 3, \
         audit_hash = (SELECT hash FROM audit_entries WHERE sequence = 3)",
    )
    .await;
    execute(&plane, "DELETE FROM audit_entries WHERE sequence = 4").await;
    let asked = v1::VerifyAuditRequest {
        after_sequence: kept.sequence,
        after_hash: kept.hash,
    };
    let found = audit(&plane).verify_audit(asked).await.expect("it answers");
    assert!(found.into_inner().broken_sequence > 0);
}
