//! A whole configuration in one call: planned, made whole or not at all, pruned.

use std::collections::BTreeMap;

use hookplane_proto::v1;
use hookplane_proto::v1::ChangeAction;
use tonic::Code;

use super::plane::{Plane, clerk, connection, destination, filter, filtered_by, provider_auth};

fn labelled() -> BTreeMap<String, String> {
    BTreeMap::from([("owner".to_owned(), "billing".to_owned())])
}

/// A source, a destination, a filter, and a connection that names all three.
fn whole() -> v1::ApplyConfigurationRequest {
    let mut from = clerk("Clerk");
    from.labels = labelled();
    let mut to = destination("users");
    to.labels = labelled();
    let mut invoices = filter("invoices", "/invoices");
    invoices.labels = labelled();
    let mut between = connection("users", "", "");
    between.labels = labelled();
    between.source = Some(clerk("Clerk"));
    between.destination = Some(destination("users"));
    between.rules = vec![filtered_by("invoices")];
    v1::ApplyConfigurationRequest {
        sources: vec![from],
        destinations: vec![to],
        filters: vec![invoices],
        connections: vec![between],
        ..v1::ApplyConfigurationRequest::default()
    }
}

async fn apply(
    plane: &Plane,
    asked: v1::ApplyConfigurationRequest,
) -> Result<v1::ApplyConfigurationResponse, tonic::Status> {
    let done = plane.configuration().apply_configuration(asked).await?;
    Ok(done.into_inner())
}

/// `create source Clerk`, …
fn told(plan: &v1::ApplyConfigurationResponse) -> Vec<String> {
    let line = |one: &v1::PlannedChange| {
        let action = one.action().as_str_name().to_lowercase();
        let action = action.trim_start_matches("change_action_").to_owned();
        format!("{action} {} {}", one.kind, one.name)
    };
    plan.changes.iter().map(line).collect()
}

#[tokio::test]
async fn a_configuration_is_made_in_one_revision_and_the_second_time_not_at_all() {
    for plane in Plane::on_each_database().await {
        let mut dry = whole();
        dry.validate_only = true;
        let plan = apply(&plane, dry).await.expect("it would be right");
        let all = [
            "create source Clerk",
            "create destination users",
            "create filter invoices",
            "create connection users",
        ];
        assert_eq!(told(&plan), all);
        let none = v1::ListSourcesRequest::default();
        let none = plane.sources().list_sources(none).await;
        assert_eq!(none.expect("a list").into_inner().count, 0);

        let first = apply(&plane, whole()).await.expect("it is right");
        assert_eq!(told(&first), all);
        assert_eq!(first.pools, ["default"]);
        let listed = plane
            .connections()
            .list_connections(v1::ListConnectionsRequest::default())
            .await;
        let made = listed.expect("a list").into_inner().models.remove(0);
        let source = made.source.expect("a copy");
        assert_eq!(
            (source.revision, made.revision),
            (first.revision, first.revision)
        );

        let again = apply(&plane, whole()).await.expect("it is right");
        let unchanged = again.changes.iter();
        let unchanged = unchanged.filter(|one| one.action() == ChangeAction::Unchanged);
        assert_eq!((unchanged.count(), again.revision), (4, first.revision));

        // What was read can be sent back: redacted secrets keep the stored ones.
        let every = v1::ListSourcesRequest::default();
        let read = plane.sources().list_sources(every).await;
        let read = read.expect("a list").into_inner().models;
        let back = v1::ApplyConfigurationRequest {
            sources: read,
            ..v1::ApplyConfigurationRequest::default()
        };
        let back = apply(&plane, back).await.expect("it is right");
        assert_eq!(told(&back), ["unchanged source Clerk"]);
    }
}

#[tokio::test]
async fn one_fault_leaves_everything_as_it_was_and_says_where_it_is() {
    for plane in Plane::on_each_database().await {
        let mut asked = whole();
        asked.connections[0].destination = Some(destination("nobody"));
        let refused = apply(&plane, asked)
            .await
            .expect_err("there is no such end");
        assert_eq!(refused.code(), Code::InvalidArgument);
        let message = refused.message().to_owned();
        assert!(
            message.starts_with("connections[0].destination"),
            "{message}"
        );
        let none = v1::ListSourcesRequest::default();
        let none = plane.sources().list_sources(none).await;
        assert_eq!(none.expect("a list").into_inner().count, 0);
    }
}

#[tokio::test]
async fn a_plan_says_what_differs_and_never_a_secret() {
    let plane = Plane::on_sqlite().await;
    apply(&plane, whole()).await.expect("it is right");
    let mut other = whole();
    other.destinations[0]
        .config
        .get_or_insert_default()
        .timeout_ms = 6_000;
    let secret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    other.sources[0].config.get_or_insert_default().auth = Some(provider_auth(&[secret]));
    let plan = apply(&plane, other).await.expect("it is right");
    let fields = |place: usize| plan.changes[place].fields.clone();
    let timeout = v1::FieldChange {
        path: "config.timeout_ms".to_owned(),
        before: "15000".to_owned(),
        after: "6000".to_owned(),
    };
    assert_eq!(fields(1), [timeout]);
    assert!(
        fields(0)[0].path.starts_with("config.auth"),
        "{:?}",
        fields(0)
    );
    assert!(!format!("{plan:?}").contains(&secret[6..20]), "{plan:?}");
}

#[tokio::test]
async fn pruning_takes_what_has_the_label_and_what_depends_on_it() {
    for plane in Plane::on_each_database().await {
        apply(&plane, whole()).await.expect("it is right");
        // Somebody else's connection to the destination, without the label.
        let source = plane
            .create_source(clerk("theirs"))
            .await
            .expect("a source");
        let to = plane
            .destinations()
            .list_destinations(v1::ListDestinationsRequest::default())
            .await;
        let to = to.expect("a list").into_inner().models.remove(0);
        let asked = v1::CreateConnectionRequest {
            connection: Some(connection("theirs", &source.id, &to.id)),
            ..v1::CreateConnectionRequest::default()
        };
        plane
            .connections()
            .create_connection(asked)
            .await
            .expect("it is right");

        let only_source = v1::ApplyConfigurationRequest {
            sources: whole().sources,
            prune_label: "owner=billing".to_owned(),
            ..v1::ApplyConfigurationRequest::default()
        };
        let done = apply(&plane, only_source).await.expect("it is right");
        let mut lines = told(&done);
        lines[1..3].sort();
        let wanted = [
            "unchanged source Clerk",
            "delete connection theirs",
            "delete connection users",
            "delete filter invoices",
            "delete destination users",
        ];
        assert_eq!(lines, wanted);
        let theirs = done.changes.iter().find(|one| one.name == "theirs");
        assert_eq!(theirs.expect("it is told").because, "destination `users`");
        let every = v1::ListSourcesRequest::default();
        let left = plane.sources().list_sources(every).await;
        let left = left.expect("a list").into_inner();
        assert_eq!(left.count, 2, "named or without the label: they stay");
    }
}

#[tokio::test]
async fn waiting_for_a_revision_that_does_not_exist_is_refused_and_without_agents_it_is_over() {
    let plane = Plane::on_sqlite().await;
    let made = apply(&plane, whole()).await.expect("it is right");
    let asked = v1::WaitAppliedRequest {
        revision: made.revision,
        ..v1::WaitAppliedRequest::default()
    };
    let stand = plane.configuration().wait_applied(asked).await;
    let stand = stand.expect("it is over").into_inner();
    assert_eq!((stand.applied, stand.agents), (true, 0));
    let asked = v1::WaitAppliedRequest {
        revision: made.revision + 1,
        ..v1::WaitAppliedRequest::default()
    };
    let refused = plane.configuration().wait_applied(asked).await;
    let refused = refused.expect_err("nobody could ever have it");
    assert_eq!(refused.code(), Code::InvalidArgument);
}
