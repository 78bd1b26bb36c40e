use hookplane_proto::descriptor_pool;
use serde_json::json;

use super::*;
use crate::rest::fault::FieldFault;
use crate::rest::json::write;

fn descriptor(name: &str) -> MessageDescriptor {
    descriptor_pool()
        .get_message_by_name(name)
        .expect("a message of the contract")
}

fn faults_of(name: &str, json: Value) -> Vec<FieldFault> {
    let mut faults = Faults::default();
    message(&descriptor(name), json, &Path::ROOT, &mut faults);
    faults.into_vec()
}

fn round_trip(name: &str, json: Value) -> Value {
    let mut faults = Faults::default();
    let message = message(&descriptor(name), json, &Path::ROOT, &mut faults);
    assert_eq!(faults.into_vec(), []);
    write::message(&message)
}

#[test]
fn a_fault_names_the_field_and_what_would_be_right() {
    for (json, field, part) in [
        (json!({"nme": "x"}), "nme", "possible are id, team_id, name"),
        (json!({"name": 5}), "name", "must be a string, not a number"),
        (
            json!({"type": "CLARK"}),
            "type",
            "must be one of WEBHOOK, CLERK",
        ),
        (json!({"type": 2}), "type", "must be one of WEBHOOK, CLERK"),
        (
            json!({"status": "on"}),
            "status",
            "must be one of enabled, disabled",
        ),
        (
            json!({"config": []}),
            "config",
            "must be an object, not a list",
        ),
        (
            json!({"config": {"allowed_http_methods": "POST"}}),
            "config.allowed_http_methods",
            "must be a list, not a string",
        ),
        (
            json!({"config": {"allowed_http_methods": ["POST", null]}}),
            "config.allowed_http_methods[1]",
            "must be a string, not null",
        ),
        (
            json!({"config": {"max_body_bytes": -1}}),
            "config.max_body_bytes",
            "must be a whole number from 0 to 4294967295",
        ),
        (
            json!({"config": {"max_body_bytes": true}}),
            "config.max_body_bytes",
            "must be a whole number from 0 to 4294967295, not true or false",
        ),
        (json!({"labels": {"a": 1}}), "labels.a", "must be a string"),
        (json!({"created_at": "yesterday"}), "created_at", "RFC 3339"),
        (json!([]), "body", "must be an object, not a list"),
    ] {
        let found = faults_of("hookplane.v1.Source", json.clone());
        assert_eq!(found.len(), 1, "{json}: {found:?}");
        assert_eq!(found[0].field, field, "{json}");
        assert!(
            found[0].message.contains(part),
            "{json}: {}",
            found[0].message
        );
    }
}

#[test]
fn all_faults_are_told_at_once() {
    let found = faults_of(
        "hookplane.v1.Source",
        json!({"name": 1, "colour": "red", "config": {"tolerance_seconds": "soon"}}),
    );
    let fields: Vec<&str> = found.iter().map(|fault| fault.field.as_str()).collect();
    assert_eq!(fields, ["colour", "config.tolerance_seconds", "name"]);
}

#[test]
fn values_are_never_repeated_in_a_fault() {
    let found = faults_of(
        "hookplane.v1.Source",
        json!({"name": {"s3cret": "s3cret"}, "type": "s3cret", "created_at": "s3cret"}),
    );
    assert_eq!(found.len(), 3);
    assert!(!format!("{found:?}").contains("s3cret"), "{found:?}");
}

#[test]
fn defaults_are_written_and_absent_messages_are_null() {
    let written = round_trip("hookplane.v1.Request", json!({"id": "req_1"}));
    assert_eq!(
        written,
        json!({
            "batch_operation_id": "", "id": "req_1", "team_id": "", "source_id": "", "status": null, "verified": false,
            "verified_by": "", "rejection_cause": "", "rejection_reason": "",
            "rejection_detail": "", "message_id": "", "event_type": "", "ingested_at": null,
            "events_count": 0, "ignored_count": 0, "repeat_count": 0, "body_size": 0,
            "client_ip": "", "agent_id": "", "config_revision": 0, "data": null,
            "is_retry": false, "retry_kind": null, "retry_parent_request_id": "",
            "modified": false,
        })
    );
}

#[test]
fn numbers_bytes_and_times_survive_both_ways() {
    let written = round_trip(
        "hookplane.v1.Request",
        json!({
            "body_size": "18446744073709551615",
            "config_revision": 7.0,
            "ingested_at": "2026-02-03T04:05:06.5+01:00",
            "data": {"body": "_-8", "method": "POST"},
        }),
    );
    assert_eq!(written["body_size"], json!("18446744073709551615"));
    assert_eq!(written["config_revision"], json!(7));
    assert_eq!(written["ingested_at"], json!("2026-02-03T03:05:06.5Z"));
    assert_eq!(written["data"]["body"], json!("/+8="));
}

#[test]
fn free_json_keeps_every_kind_of_value() {
    let body = json!({
        "type": {"$in": ["user.created", null, true, false, 0, 1.5, -3, "", [], {}]},
        "": {"deep": [[[{"a": {}}]]]},
    });
    let written = round_trip(
        "hookplane.v1.FilterRule",
        json!({"body": body, "path": "/x"}),
    );
    assert_eq!(
        written,
        json!({"body": body, "path": "/x", "filter_id": "", "cel": null})
    );
}

#[test]
fn free_json_that_could_not_be_kept_is_refused() {
    let found = faults_of(
        "hookplane.v1.FilterRule",
        json!({"body": {"id": 9_007_199_254_740_993_u64}}),
    );
    assert_eq!(found[0].field, "body");
    assert!(found[0].message.contains("write it as text"));

    let mut deep = json!(1);
    for _ in 0..29 {
        deep = json!({ "a": deep });
    }
    let found = faults_of("hookplane.v1.FilterRule", json!({ "path": deep }));
    assert_eq!(found[0].field, "path");
    assert!(found[0].message.contains("28 levels"));
}

#[test]
fn the_deepest_conditions_taken_can_be_decoded_on_their_whole_way() {
    use prost::Message as _;
    let mut deep = json!(1);
    for _ in 0..28 {
        deep = json!({ "a": deep });
    }
    let mut faults = Faults::default();
    let rule = message(
        &descriptor("hookplane.v1.FilterRule"),
        json!({ "body": deep }),
        &Path::ROOT,
        &mut faults,
    );
    assert_eq!(faults.into_vec(), []);
    let filter: hookplane_proto::v1::FilterRule = rule.transcode_to().expect("decodable");
    let connection = hookplane_proto::v1::Connection {
        rules: vec![hookplane_proto::v1::Rule {
            rule: Some(hookplane_proto::v1::rule::Rule::Filter(filter)),
        }],
        ..Default::default()
    };
    let resource = hookplane_proto::agent::v1::Resource {
        body: Some(hookplane_proto::agent::v1::resource::Body::Source(
            hookplane_proto::agent::v1::SourceGroup {
                source: None,
                connections: vec![connection],
                handler_keys: Vec::new(),
            },
        )),
        ..Default::default()
    };
    let snapshot = hookplane_proto::agent::v1::ConfigurationStreamResponse {
        message: Some(
            hookplane_proto::agent::v1::configuration_stream_response::Message::Snapshot(
                hookplane_proto::agent::v1::SnapshotChunk {
                    resources: vec![resource],
                    ..Default::default()
                },
            ),
        ),
    };
    let bytes = snapshot.encode_to_vec();
    hookplane_proto::agent::v1::ConfigurationStreamResponse::decode(bytes.as_slice())
        .expect("what is admitted reaches the agents");
}

#[test]
fn nothing_is_read_once_more_faults_would_not_be_told() {
    let unknown = (0..300_000).map(|number| (format!("a{number}"), json!(1)));
    let mut object: Map<String, Value> = unknown.collect();
    object.insert("name".to_owned(), json!("read last"));
    let mut faults = Faults::default();
    let read = message(
        &descriptor("hookplane.v1.Source"),
        Value::Object(object),
        &Path::ROOT,
        &mut faults,
    );
    assert!(faults.is_full());
    assert!(!read.has_field_by_name("name"), "the reading went on");
    let mut faults = Faults::default();
    let numbers = json!({"config": {"allowed_http_methods": vec![1; 100_000]}});
    let source = descriptor("hookplane.v1.Source");
    message(&source, numbers, &Path::ROOT, &mut faults);
    let last = faults.into_vec().pop().map(|fault| fault.field);
    assert_eq!(last.as_deref(), Some("config.allowed_http_methods[15]"));
}
