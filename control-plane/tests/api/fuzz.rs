//! Whatever a caller sends to the real services, on either database, it is the
//! caller's fault and said to be.

use axum::body::Body;
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use super::inputs::{any_json, any_path};
use super::plane::{Plane, clerk, connection};

const NOUNS: [&str; 8] = [
    "sources",
    "destinations",
    "connections",
    "requests",
    "events",
    "attempts",
    "agents",
    "project-api-keys",
];
const CASES: u32 = 150;

/// One call: verb, path with query, body.
type Call = (&'static str, String, String);

struct Caller {
    plane: Plane,
    client: Client<HttpConnector, Body>,
}

impl Caller {
    fn new(plane: Plane) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { plane, client }
    }

    /// Status and body of the answer; None for what no client can send.
    async fn call(&self, (verb, target, body): Call) -> Option<(u16, String)> {
        let uri: http::Uri = format!("http://{}{target}", self.plane.address)
            .parse()
            .ok()?;
        let request = http::Request::builder()
            .method(verb)
            .uri(uri)
            .header("authorization", format!("Bearer {}", self.plane.key))
            .body(Body::from(body))
            .ok()?;
        let answer = self.client.request(request).await.expect("an answer");
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.expect("all of it");
        let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        Some((status, text))
    }
}

/// Paths of things that are there, and of nothing.
fn any_call(real: Vec<String>) -> impl Strategy<Value = Call> {
    let query = prop_oneof![
        Just(String::new()),
        "[!-~&&[^#]]{0,30}",
        prop::sample::select(vec![
            "name=%00",
            "pool=a%00",
            "source_id=%00",
            "page_token=eyJ9",
            "order_by=name&limit=1",
            "source_id=src_%0A&limit=255",
        ])
        .prop_map(str::to_owned),
    ];
    let path = prop_oneof![1 => any_path(&NOUNS), 2 => prop::sample::select(real)];
    // Not DELETE, so that what is there stays; not the tail, which does not end.
    let verb = prop::sample::select(vec!["GET", "POST", "PUT", "PATCH"]);
    let body = prop_oneof![
        3 => any_json().prop_map(|json| json.to_string()),
        1 => any::<String>().prop_map(|text| {
            json!({"name": "Clerk", "description": text, "labels": {text.clone(): text}}).to_string()
        }),
        1 => Just(String::new()),
    ];
    (verb, path, query, body)
        .prop_map(|(verb, path, query, body)| (verb, format!("{path}?{query}"), body))
}

async fn callers() -> Vec<(Caller, Vec<String>)> {
    let mut all = Vec::new();
    for plane in Plane::on_each_database().await {
        let source = plane.create_source(clerk("Clerk")).await.expect("right");
        let to = plane.create_destination("users").await;
        let connection = Some(connection("users", &source.id, &to.id));
        let asked = hookplane_proto::v1::CreateConnectionRequest {
            connection,
            ..Default::default()
        };
        let made = plane.connections().create_connection(asked).await;
        let made = made.expect("right").into_inner();
        let mut real: Vec<String> = NOUNS.iter().map(|noun| format!("/v1/{noun}")).collect();
        for path in [
            format!("/v1/sources/{}", source.id),
            format!("/v1/destinations/{}", to.id),
            format!("/v1/connections/{}", made.id),
        ] {
            real.extend([path.clone(), path.clone() + "%00", path + "/disable"]);
        }
        real.extend(NOUNS.iter().map(|noun| format!("/v1/{noun}/a%00b")));
        all.push((Caller::new(plane), real));
    }
    all
}

#[test]
fn nothing_a_caller_sends_becomes_a_server_error() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    for (caller, real) in runtime.block_on(callers()) {
        let config = Config {
            failure_persistence: None,
            ..Config::with_cases(CASES)
        };
        let checked = TestRunner::new(config).run(&any_call(real), |call| {
            let got = runtime.block_on(caller.call(call.clone()));
            let fine = got.as_ref().is_none_or(|(status, _)| *status < 500);
            prop_assert!(fine, "{call:?} gave {got:?}");
            Ok(())
        });
        checked.expect("every answer is below 500");
    }
}

#[tokio::test]
async fn control_characters_are_refused_by_the_field_that_has_them() {
    for (caller, _) in callers().await {
        for (field, body) in [
            ("name", json!({"name": "a\u{0}"})),
            ("description", json!({"name": "a", "description": "a\u{0}"})),
            ("environment", json!({"name": "a", "environment": "a\u{1}"})),
            ("pool", json!({"name": "a", "pool": "a\u{0}"})),
            ("labels.a", json!({"name": "a", "labels": {"a": "\n"}})),
        ] {
            let call = ("POST", "/v1/sources".to_owned(), body.to_string());
            let (status, text) = caller.call(call).await.expect("it can be sent");
            assert_eq!(status, 400, "{body}: {text}");
            let answer: Value = serde_json::from_str(&text).expect("JSON");
            let named = answer["fields"].as_array().expect("fields");
            let found = named.iter().any(|fault| fault["field"] == field);
            assert!(found, "{field} is not named: {text}");
        }
        for (target, status) in [
            ("/v1/sources/src_%00", 404),
            ("/v1/destinations/%00", 404),
            ("/v1/connections/%00", 404),
            ("/v1/filters/%00", 404),
            ("/v1/agents/%00", 404),
            ("/v1/project-api-keys/%00", 404),
            ("/v1/sources?name=%00", 400),
            ("/v1/connections?source_id=%00", 400),
            ("/v1/agents?pool=%00", 400),
        ] {
            let call = ("GET", target.to_owned(), String::new());
            let (got, text) = caller.call(call).await.expect("it can be sent");
            assert_eq!(got, status, "{target}: {text}");
        }
        let call = (
            "POST",
            "/v1/project-api-keys".to_owned(),
            json!({"name": "\u{0}"}).to_string(),
        );
        assert_eq!(caller.call(call).await.expect("it can be sent").0, 400);
    }
}
