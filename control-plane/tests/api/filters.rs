//! Stored filters: their life, who may refer to them, and what a test of one says.

use std::collections::BTreeMap;

use hookplane_proto::v1;
use tonic::Code;

use super::plane::{Plane, clerk, connection, filter, filtered_by, text};

async fn made(plane: &Plane, name: &str, path: &str) -> v1::Filter {
    let filter = Some(filter(name, path));
    let asked = v1::CreateFilterRequest {
        filter,
        ..v1::CreateFilterRequest::default()
    };
    let made = plane.filters().create_filter(asked).await;
    made.expect("it is right").into_inner()
}

async fn connected(plane: &Plane, filter_id: &str) -> Result<v1::Connection, tonic::Status> {
    let source = plane.create_source(clerk("Clerk")).await.expect("a source");
    let to = plane.create_destination("users").await;
    let mut wanted = connection("users", &source.id, &to.id);
    wanted.rules = vec![filtered_by(filter_id)];
    let asked = v1::CreateConnectionRequest {
        connection: Some(wanted),
        ..v1::CreateConnectionRequest::default()
    };
    let made = plane.connections().create_connection(asked).await?;
    Ok(made.into_inner())
}

#[tokio::test]
async fn a_filter_in_use_cannot_be_deleted_and_its_change_is_one_of_the_connections() {
    for plane in Plane::on_each_database().await {
        let one = made(&plane, "invoices", "/invoices").await;
        assert!(one.id.starts_with("flt_"), "{}", one.id);
        let user = connected(&plane, &one.id).await.expect("it is right");
        assert_eq!(user.rules, [filtered_by(&one.id)], "it stays a reference");

        let asked = v1::GetFilterRequest { id: one.id.clone() };
        let got = plane.filters().get_filter(asked).await;
        let got = got.expect("it is there").into_inner();
        assert_eq!(
            (got.connections_count, &got.sample_connection_id),
            (1, &user.id)
        );
        let asked = v1::DeleteFilterRequest {
            id: one.id.clone(),
            ..v1::DeleteFilterRequest::default()
        };
        let refused = plane.filters().delete_filter(asked.clone()).await;
        let refused = refused.expect_err("a connection refers to it");
        assert_eq!(refused.code(), Code::FailedPrecondition);

        let asked_to_change = v1::ReplaceFilterRequest {
            id: one.id.clone(),
            filter: Some(filter("invoices", "/paid")),
            ..v1::ReplaceFilterRequest::default()
        };
        let changed = plane.filters().replace_filter(asked_to_change).await;
        let changed = changed.expect("it is right").into_inner();
        let id = user.id.clone();
        let after = plane
            .connections()
            .get_connection(v1::GetConnectionRequest { id: id.clone() })
            .await;
        let after = after.expect("it is there").into_inner();
        assert_eq!(after.revision, changed.revision, "the connection changed");
        assert_ne!(after.etag, user.etag);

        let gone = v1::DeleteConnectionRequest {
            id,
            ..v1::DeleteConnectionRequest::default()
        };
        plane
            .connections()
            .delete_connection(gone)
            .await
            .expect("nothing refers to a connection");
        let gone = plane.filters().delete_filter(asked).await;
        gone.expect("nothing refers to it any more");
    }
}

#[tokio::test]
async fn a_rule_cannot_refer_to_a_filter_that_is_not_there_nor_mix_both_forms() {
    let plane = Plane::on_sqlite().await;
    let refused = connected(&plane, "flt_nothing").await;
    let refused = refused.expect_err("there is no such filter");
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(
        refused.message().starts_with("rules[0].filter_id"),
        "{}",
        refused.message()
    );

    let one = made(&plane, "invoices", "/invoices").await;
    let source = plane.create_source(clerk("other")).await.expect("a source");
    let to = plane.create_destination("others").await;
    let mut wanted = connection("others", &source.id, &to.id);
    let both = v1::FilterRule {
        filter_id: one.id,
        path: Some(text("/x")),
        ..v1::FilterRule::default()
    };
    wanted.rules = vec![v1::Rule {
        rule: Some(v1::rule::Rule::Filter(both)),
    }];
    let asked = v1::CreateConnectionRequest {
        connection: Some(wanted),
        ..v1::CreateConnectionRequest::default()
    };
    let refused = plane.connections().create_connection(asked).await;
    let refused = refused.expect_err("one of the two");
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_filter_that_no_agent_would_take_is_refused_with_its_place() {
    let plane = Plane::on_sqlite().await;
    let mut wrong = filter("bad name", "/x");
    let operator = prost_types::Struct {
        fields: BTreeMap::from([("$regex".to_owned(), text("("))]),
    };
    let kind = prost_types::value::Kind::StructValue(operator);
    wrong.conditions = Some(v1::FilterConditions {
        path: Some(prost_types::Value { kind: Some(kind) }),
        ..v1::FilterConditions::default()
    });
    let asked = v1::CreateFilterRequest {
        filter: Some(wrong),
        ..v1::CreateFilterRequest::default()
    };
    let refused = plane.filters().create_filter(asked).await;
    let refused = refused.expect_err("neither name nor pattern is right");
    let details = tonic_types::StatusExt::get_error_details(&refused);
    let fields = details.bad_request().map(|faults| {
        let faults = faults.field_violations.iter();
        faults.map(|fault| fault.field.clone()).collect::<Vec<_>>()
    });
    let fields = fields.expect("the fields are named");
    assert_eq!(fields[0], "name");
    assert!(fields[1].starts_with("conditions.path"), "{fields:?}");
}

#[tokio::test]
async fn a_test_says_whether_an_input_passes_and_what_was_in_the_way() {
    let plane = Plane::on_sqlite().await;
    let one = made(&plane, "invoices", "/invoices").await;
    let verdict = async |path: &str| {
        let input = v1::FilterInput {
            path: path.to_owned(),
            ..v1::FilterInput::default()
        };
        let asked = v1::TestFilterRequest {
            filter_id: one.id.clone(),
            input: Some(input),
            ..v1::TestFilterRequest::default()
        };
        let told = plane.filters().test_filter(asked).await;
        told.expect("both are right").into_inner()
    };
    assert!(verdict("/invoices").await.matched);
    let refused = verdict("/users").await;
    assert_eq!(
        (refused.matched, refused.condition.as_str()),
        (false, "path")
    );
}
