//! Calls that fail: what the caller is told, and what not.

use std::collections::HashMap;
use std::time::Duration;

use axum::body::Body;
use hookplane_control_plane::rest::Limits;
use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

use crate::api::{Api, Reply, request};
use crate::services::{Echo, WEAK_KEY};

async fn failing(verb: &str, path: &str, body: &str, status: Status) -> Reply {
    let echo = Echo {
        fails_with: Some(status),
        ..Echo::default()
    };
    let api = Api::with(echo, Limits::default());
    api.call(verb, path, body.to_owned()).await
}

#[tokio::test]
async fn each_code_has_its_http_status_and_its_name() {
    for (code, http, name) in [
        (Code::Cancelled, 499, "CANCELLED"),
        (Code::InvalidArgument, 400, "INVALID_ARGUMENT"),
        (Code::DeadlineExceeded, 504, "DEADLINE_EXCEEDED"),
        (Code::NotFound, 404, "NOT_FOUND"),
        (Code::AlreadyExists, 409, "RESOURCE_ALREADY_EXISTS"),
        (Code::PermissionDenied, 403, "PERMISSION_DENIED"),
        (Code::ResourceExhausted, 429, "RESOURCE_EXHAUSTED"),
        (Code::FailedPrecondition, 409, "FAILED_PRECONDITION"),
        (Code::Aborted, 412, "ABORTED"),
        (Code::OutOfRange, 400, "OUT_OF_RANGE"),
        (Code::Unimplemented, 501, "UNIMPLEMENTED"),
        (Code::Unavailable, 503, "UNAVAILABLE"),
        (Code::Unauthenticated, 401, "UNAUTHENTICATED"),
    ] {
        let answer = failing(
            "GET",
            "/v1/sources/x",
            "",
            Status::new(code, "what happened"),
        )
        .await;
        let body = answer.json(http);
        assert_eq!(body["code"], name);
        assert_eq!(body["error"], "what happened");
        assert_eq!(body["message"], "what happened");
        assert_eq!(body["status"], http);
        assert_eq!(
            (&body["fields"], &body["detail"]),
            (&json!([]), &Value::Null)
        );
        assert!(
            body["hint"]
                .as_str()
                .is_some_and(|hint| hint.ends_with('.')),
            "{body}"
        );
        let challenge = answer.headers.get("www-authenticate");
        assert_eq!(challenge.is_some(), http == 401, "{code:?}");
    }
}

#[tokio::test]
async fn errors_of_ours_show_nothing_of_their_cause() {
    for code in [Code::Internal, Code::Unknown, Code::DataLoss] {
        let status = Status::with_error_details(
            code,
            "table api_keys is locked",
            ErrorDetails::with_debug_info(vec!["src/store.rs".to_owned()], "select"),
        );
        let answer = failing("GET", "/v1/sources/x", "", status).await;
        answer.json(500);
        assert!(!answer.text.contains("api_keys"), "{}", answer.text);
        assert!(!answer.text.contains("store.rs"), "{}", answer.text);
    }
}

#[tokio::test]
async fn the_details_of_a_status_have_their_places() {
    let metadata = [
        ("id", "src_1"),
        ("resource_type", "source"),
        ("hint", "Take another name."),
        ("detail", "Names are unique in a team."),
    ];
    let metadata: HashMap<String, String> =
        metadata.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    let mut details =
        ErrorDetails::with_error_info("RESOURCE_ALREADY_EXISTS", "hookplane", metadata);
    details.set_retry_info(Some(Duration::from_millis(1_200)));
    let status = Status::with_error_details(Code::AlreadyExists, "the name is taken", details);
    let answer = failing("POST", "/v1/sources", r#"{"name":"a"}"#, status).await;
    assert_eq!(answer.headers["retry-after"], "2");
    assert_eq!(
        answer.json(409),
        json!({
            "error": "the name is taken", "message": "the name is taken",
            "code": "RESOURCE_ALREADY_EXISTS", "status": 409, "fields": [],
            "hint": "Take another name.", "detail": "Names are unique in a team.",
            "data": {"id": "src_1", "resource_type": "source"},
        })
    );
}

#[tokio::test]
async fn fields_are_named_as_the_caller_wrote_them() {
    for (verb, path, given, shown) in [
        (
            "POST",
            "/sources",
            "source.config.auth.hmac.secret",
            "config.auth.secret",
        ),
        (
            "POST",
            "/sources",
            "config.auth.basic.password",
            "config.auth.password",
        ),
        (
            "PATCH",
            "/sources/x",
            "source.config.auth.provider_signature.webhook_signing_secrets[1]",
            "config.auth.webhook_signing_secrets[1]",
        ),
        (
            "POST",
            "/connections",
            "connection.rules[2].retry.count",
            "rules[2].count",
        ),
        (
            "POST",
            "/connections",
            "rules[0].filter.body.type.$in",
            "rules[0].body.type.$in",
        ),
        (
            "POST",
            "/sources",
            "source.labels.team.name",
            "labels.team.name",
        ),
        ("POST", "/sources", "source", "body"),
        ("PATCH", "/sources/x", "update_mask", "update_mask"),
        ("PATCH", "/sources/x", "id", "id"),
        ("GET", "/sources", "limit", "limit"),
        ("GET", "/sources", "", "body"),
    ] {
        let violation = FieldViolation::new(given, "must be better");
        let details = ErrorDetails::with_bad_request(vec![violation]);
        let status = Status::with_error_details(Code::InvalidArgument, "", details);
        let body = if verb == "GET" { "" } else { r#"{"name":"a"}"# };
        let answer = failing(verb, path, body, status).await.json(400);
        let expected = json!([{"field": shown, "message": "must be better"}]);
        assert_eq!(answer["fields"], expected, "{given}");
        assert_eq!(answer["message"], format!("`{shown}` must be better"));
    }
}

#[tokio::test]
async fn input_that_cannot_be_read_names_the_field_and_never_reaches_the_service() {
    let api = Api::new();
    for (verb, path, body, field) in [
        ("POST", "/sources", "", "body"),
        ("POST", "/sources", "{\"name\":", "body"),
        ("POST", "/sources", "[]", "body"),
        ("POST", "/sources", "null", "body"),
        ("POST", "/sources", r#"{"name":"a","name":"b"}"#, "body"),
        ("POST", "/sources", r#"{"nam":"x"}"#, "nam"),
        (
            "POST",
            "/sources",
            r#"{"config":{"auth":{}}}"#,
            "config.auth_type",
        ),
        ("PUT", "/sources/x/enable", r#"{"id":"y"}"#, "body"),
        (
            "POST",
            "/sources?dry_run=true",
            r#"{"name":"x"}"#,
            "dry_run",
        ),
        (
            "PATCH",
            "/sources/x?update_mask=name",
            r#"{"name":"x"}"#,
            "update_mask",
        ),
        ("GET", "/sources?limit=many", "", "limit"),
        ("GET", "/sources?limit=1&limit=2", "", "limit"),
        ("GET", "/sources/x?id=y", "", "id"),
        ("GET", "/requests?verified=yes", "", "verified"),
        ("GET", "/requests?status=lost", "", "status"),
    ] {
        let answer = api.call(verb, path, body).await.json(400);
        assert_eq!(answer["code"], "INVALID_ARGUMENT", "{path} {body}");
        assert_eq!(
            answer["fields"][0]["field"], field,
            "{path} {body}: {answer}"
        );
    }
    assert_eq!(api.echo.calls(), 0);
}

#[tokio::test]
async fn paths_and_verbs_that_do_not_exist_are_told_apart() {
    let api = Api::new();
    for path in [
        "/",
        "/v2/sources",
        "/v1/sources/x/y",
        "/v1/hookplane.v1.SourceService/Get",
    ] {
        assert_eq!(api.get(path).await.json(404)["code"], "NOT_FOUND");
    }
    let answer = api.call("PATCH", "/v1/sources", "{}").await;
    assert_eq!(answer.headers["allow"], "GET, HEAD, POST, PUT");
    let body = answer.json(405);
    assert_eq!(body["code"], "METHOD_NOT_ALLOWED");
    assert_eq!(body["hint"], "Use one of GET, HEAD, POST, PUT.");
}

#[tokio::test]
async fn a_service_that_is_not_there_is_unimplemented() {
    let answer = Api::new().get("/v1/destinations").await.json(501);
    assert_eq!(answer["code"], "UNIMPLEMENTED");
}

#[tokio::test]
async fn a_caller_without_rights_learns_that_whatever_else_is_wrong() {
    let api = Api::new();
    let too_large = "x".repeat(5 * 1024 * 1024);
    for (verb, path, body) in [
        ("GET", "/v1/sources", ""),
        ("POST", "/v1/sources", r#"{"name":"x"}"#),
        ("POST", "/v1/sources", "not JSON"),
        ("POST", "/v1/sources", ""),
        ("POST", "/v1/sources", &too_large),
        ("PUT", "/v1/sources/x/enable", r#"{"unknown":1}"#),
        ("GET", "/v1/sources?limit=x", ""),
        ("GET", "/v1/requests/tail", ""),
        ("GET", "/v1/requests/tail?limit=x", ""),
    ] {
        for (key, http) in [
            (None, 401),
            (Some("Bearer hpk_bad"), 401),
            (Some(WEAK_KEY), 403),
        ] {
            let mut call = request(verb, path);
            if let Some(key) = key {
                call = call.header("authorization", key);
            }
            let answer = api
                .send(call.body(Body::from(body.to_owned())).unwrap())
                .await;
            let body = answer.json(http);
            assert_eq!(body["fields"], json!([]), "{verb} {path}");
        }
    }
    assert_eq!(api.echo.calls(), 0);
}
