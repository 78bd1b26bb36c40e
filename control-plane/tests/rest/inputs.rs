//! What callers might send, near enough to what is right to get somewhere.

use proptest::prelude::*;
use serde_json::{Map, Value};

/// Paths near the real ones, so that most calls get past the router.
pub(crate) fn any_path(nouns: &[&'static str]) -> impl Strategy<Value = String> {
    let mut known = vec![
        "count", "enable", "trace", "v1", "x", "%ff", "%2e%2e", "%00", "a%0Ab", "",
    ];
    known.extend(nouns);
    let known = prop::sample::select(known);
    let segment = prop_oneof![4 => known.prop_map(str::to_owned), 1 => "[!-~&&[^?#/]]{0,12}"];
    prop::collection::vec(segment, 0..5).prop_map(|parts| format!("/{}", parts.join("/")))
}

/// Keys of the contract in places where they do and do not belong.
pub(crate) fn any_json() -> impl Strategy<Value = Value> {
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
        "description",
        "environment",
        "pool",
        "url",
        "destination_id",
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
        "a\u{0}\n\r",
        "https://users.internal/",
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
