//! Whatever a caller sends, nothing panics and nothing becomes a server error.

use axum::body::Body;
use http::Uri;
use proptest::prelude::*;

use crate::api::{Api, request};
use crate::inputs::{any_json, any_path};
use crate::services::GOOD_KEY;

const VERBS: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"];
/// Services that the harness has.
const NOUNS: [&str; 3] = ["sources", "connections", "requests"];

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
        path in any_path(&NOUNS),
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
        body in any_json(),
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
