//! Whatever a caller sends, nothing panics and nothing becomes a server error.

use axum::body::Body;
use http::Uri;
use proptest::prelude::*;
use serde_json::{Map, Value};

use crate::api::{Api, request};
use crate::services::GOOD_KEY;

const VERBS: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"];

/// Paths near the real ones, so that most calls get past the router.
fn path() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "sources",
        "connections",
        "requests",
        "tail",
        "count",
        "enable",
        "trace",
        "v1",
        "x",
        "%ff",
        "%2e%2e",
        "",
    ]);
    let segment = prop_oneof![4 => known.prop_map(str::to_owned), 1 => "[!-~&&[^?#/]]{0,12}"];
    prop::collection::vec(segment, 0..5).prop_map(|parts| format!("/{}", parts.join("/")))
}

/// Keys of the contract in places where they do and do not belong.
fn json() -> impl Strategy<Value = Value> {
    let key = prop::sample::select(vec![
        "name",
        "type",
        "status",
        "config",
        "auth",
        "auth_type",
        "provider",
        "rules",
        "body",
        "headers",
        "source",
        "source_id",
        "id",
        "labels",
        "count",
        "interval",
        "strategy",
        "webhook_signing_secret",
        "webhook_signing_secrets",
        "allowed_http_methods",
        "disabled_at",
        "revision",
        "custom_response",
        "filter",
        "retry",
        "",
    ]);
    let text = prop::sample::select(vec![
        "CLERK",
        "HMAC",
        "PROVIDER_SIGNATURE",
        "filter",
        "retry",
        "enabled",
        "whsec_•",
        "",
        "2026-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999999999Z",
        "\u{0}\n\r",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 48, 6, move |inner| {
        let entry = (key.clone().prop_map(str::to_owned), inner.clone());
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Value::from),
            prop::collection::vec(entry, 0..6)
                .prop_map(|entries| Value::Object(entries.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

fn status(verb: &str, path: &str, query: &str, body: Vec<u8>) -> Option<u16> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let target = format!("{path}?{query}");
    // What is no URI never reaches a router.
    let uri: Uri = target.parse().ok()?;
    let call = request(verb, &uri.to_string())
        .header("authorization", GOOD_KEY)
        .body(Body::from(body))
        .unwrap();
    Some(runtime.block_on(Api::new().send(call)).status.as_u16())
}

/// A service that is not registered is the one server error of the harness.
fn is_fine(status: Option<u16>) -> bool {
    status.is_none_or(|status| status < 500)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_path_and_query(
        verb in prop::sample::select(VERBS.to_vec()),
        path in path(),
        query in "[!-~&&[^#]]{0,40}",
    ) {
        let got = status(verb, &path, &query, Vec::new());
        prop_assert!(is_fine(got), "{verb} {path}?{query} gave {got:?}");
    }

    #[test]
    fn any_bytes_as_body(
        verb in prop::sample::select(vec!["POST", "PUT", "PATCH"]),
        path in prop::sample::select(vec!["/v1/sources", "/sources/x", "/connections", "/connections/x"]),
        body in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let got = status(verb, path, "", body);
        prop_assert!(is_fine(got), "{got:?}");
    }

    #[test]
    fn any_json_as_body(
        verb in prop::sample::select(vec!["POST", "PUT", "PATCH"]),
        path in prop::sample::select(vec!["/v1/sources", "/sources/x", "/connections", "/connections/x"]),
        body in json(),
    ) {
        let got = status(verb, path, "", body.to_string().into_bytes());
        prop_assert!(is_fine(got), "{body} gave {got:?}");
    }
}

#[test]
fn nesting_without_end_is_refused() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
        let body = format!("{{\"rules\":[{{\"type\":\"filter\",\"body\":{deep}}}]}}");
        assert_eq!(
            status("POST", "/connections", "", body.into_bytes()),
            Some(400)
        );
    }
}
