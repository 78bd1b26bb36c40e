//! What a proposed configuration would have made of recorded requests, without making it.

use std::process::Output;

use hookplane_tests::process::binary;
use hookplane_tests::{Receiver, System, until};
use http::Method;
use serde_json::{Value, json};
use tokio::process::Command;

const SHADOW: &str = "/v1/configuration/shadow";

async fn shadow(system: &System, proposal: Value) -> Value {
    let told = system.api().post(SHADOW, proposal).await;
    assert_eq!(told["partial"], false, "{told}");
    told
}

fn branch<'a>(told: &'a Value, name: &str) -> &'a Value {
    let all = told["models"][0]["connections"].as_array();
    let mut all = all.expect("connections").iter();
    let found = all.find(|one| one["name"] == name);
    found.unwrap_or_else(|| panic!("no connection {name}: {told}"))
}

/// A source with two connections, and what was sent to it: three of `a`, two of `b`.
async fn recorded() -> (System, Receiver, hookplane_tests::Source, Vec<String>) {
    let system = System::start().await;
    let receiver = Receiver::start().await;
    let source = system.clerk("Clerk").await;
    let to = system.destination("users", &receiver).await;
    let only_a = json!([{"type": "filter", "body": {"type": "a"}}]);
    system.connect(&source, "filtered", &to, only_a).await;
    system.connect(&source, "all", &to, json!([])).await;
    system.settled().await;
    let mut requests = Vec::new();
    for kind in ["a", "b", "a", "b", "a"] {
        let body = json!({"type": kind, "data": {"email": "private@example.com"}});
        requests.push(source.send(body.to_string()).await.request_id());
    }
    receiver.got(8).await;
    until("the requests can be looked at", || async {
        let rows = system.api().list("/v1/requests").await;
        (rows.len() == 5).then_some(())
    })
    .await;
    (system, receiver, source, requests)
}

#[tokio::test(flavor = "multi_thread")]
async fn another_filter_tells_what_is_gained_and_lost_by_example_and_changes_nothing() {
    let (system, receiver, _source, requests) = recorded().await;
    let revision = system.api().get("/v1/status").await["config_revision"].clone();
    let proposal = json!({"connections": [
        {"name": "filtered", "source": {"name": "Clerk"}, "destination": {"name": "users"},
         "rules": [{"type": "filter", "body": {"type": "b"}}]},
        {"name": "added", "source": {"name": "Clerk"}, "destination": {"name": "new"},
         "rules": [{"type": "delay", "until": "data.at"}]},
        {"name": "all", "source": {"name": "Clerk"}, "destination": {"name": "users"},
         "rules": [{"type": "transform", "code": "{'body': body.type == 'b' ? body.nothing : body.data}"}]},
    ], "destinations": [{"name": "new", "config": {"url": "http://127.0.0.1:9/"}}]});
    let told = shadow(&system, proposal).await;
    let source = &told["models"][0];
    assert_eq!(
        (&source["requests"], &source["truncated"]),
        (&json!(5), &json!(false)),
        "{told}"
    );
    assert!(source["refused"].is_null(), "{told}");

    let filtered = branch(&told, "filtered");
    assert_eq!(
        (&filtered["sent_before"], &filtered["sent_after"]),
        (&json!(3), &json!(2))
    );
    assert_eq!(filtered["lost"]["count"], 3, "{told}");
    assert_eq!(filtered["gained"]["count"], 2, "{told}");
    // Newest first.
    let gained = json!([requests[3], requests[1]]);
    assert_eq!(filtered["gained"]["request_ids"], gained, "{told}");
    let all = branch(&told, "all");
    assert_eq!(all["changed"]["count"], 3, "{told}");
    assert_eq!(all["failing"]["count"], 2, "{told}");
    assert_eq!(
        (&all["sent_before"], &all["sent_after"]),
        (&json!(5), &json!(3))
    );
    let added = branch(&told, "added");
    assert_eq!(added["created"], true, "{told}");
    assert_eq!(added["failing"]["count"], 5, "{told}");
    assert!(
        !told.to_string().contains("private@example.com"),
        "a payload was told: {told}"
    );

    // Nothing of it happened.
    let after = system.api().get("/v1/status").await["config_revision"].clone();
    assert_eq!(after, revision);
    assert_eq!(system.api().list("/v1/connections").await.len(), 2);
    assert_eq!(system.api().list("/v1/destinations").await.len(), 1);
    assert_eq!(receiver.so_far().len(), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_is_found_before_it_refuses_anything_and_the_right_one_heals() {
    let (system, _receiver, source, requests) = recorded().await;
    let with = |secret: &str| {
        json!({"sources": [{"name": "Clerk", "type": "CLERK", "config": {
            "auth_type": "PROVIDER_SIGNATURE",
            "auth": {"provider": "CLERK", "webhook_signing_secret": secret},
        }}]})
    };
    let wrong = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    let told = shadow(&system, with(wrong)).await;
    let refused = &told["models"][0]["refused"];
    assert_eq!(refused["count"], 5, "{told}");
    assert_eq!(refused["request_ids"][0], json!(requests[4]), "{told}");
    assert!(
        refused["reason"]
            .as_str()
            .is_some_and(|why| !why.is_empty()),
        "{told}"
    );
    assert_eq!(branch(&told, "all")["lost"]["count"], 5, "{told}");

    // The same the other way round: what the source refuses now, the right secret accepts.
    let id = &source.id;
    let path = format!("/v1/sources/{id}");
    let patch = &with(wrong)["sources"][0]["config"];
    system
        .api()
        .call(Method::PATCH, &path, Some(json!({"config": patch})))
        .await;
    system.settled().await;
    let answer = source.send(r#"{"type":"a"}"#).await;
    assert_eq!(answer.status, 401);
    let told = until("the refused one can be looked at", || async {
        let told = shadow(&system, with(&source.secret)).await;
        (told["models"][0]["requests"] == 6).then_some(told)
    })
    .await;
    let accepted = &told["models"][0]["accepted"];
    assert_eq!(accepted["count"], 1, "{told}");
    assert!(told["models"][0]["refused"].is_null(), "{told}");
    // Today's secret cannot verify the older ones, so nothing is said of them by it.
    assert_eq!(branch(&told, "filtered")["gained"]["count"], 1, "{told}");
}

async fn run(system: &System, arguments: &[&str]) -> Output {
    Command::new(binary("hookplane"))
        .args(arguments)
        .env_clear()
        .env("HOOKPLANE_API_URL", &system.api().url)
        .env("HOOKPLANE_API_KEY", &system.api().key)
        .output()
        .await
        .expect("it runs")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_compares_a_file_and_fails_on_losses_when_told_to() {
    let (system, _receiver, _source, requests) = recorded().await;
    let file = system.dir().join("proposed.toml");
    let text = r#"
[[connections]]
name = "filtered"
source = "Clerk"
destination = "users"
[[connections.rules]]
type = "filter"
body = { type = "c" }
"#;
    tokio::fs::write(&file, text).await.expect("it is written");
    let file = file.to_string_lossy().into_owned();
    let compare = ["shadow", "-f", file.as_str(), "--window", "6h"];
    let told = run(&system, &compare).await;
    let text = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.status.success(), "{text}");
    assert!(text.contains("Clerk: 5 requests"), "{text}");
    assert!(text.contains("filtered lost: 3"), "{text}");
    assert!(text.contains(&requests[4]), "{text}");
    let strict = run(&system, &[&compare[..], &["--strict"]].concat()).await;
    assert_eq!(strict.status.code(), Some(1));
    let unchanged = text_of(&system).await;
    assert!(!unchanged.contains("\"c\""), "{unchanged}");
    let bad = json!({"connections": [{"name": "x", "source": {"name": "Clerk"},
        "destination": {"name": "users"}, "rules": [{"type": "delay", "delay": 0}]}]});
    let (status, refused) = system.api().call(Method::POST, SHADOW, Some(bad)).await;
    assert_eq!(status, 400, "{refused}");
    assert!(
        refused
            .to_string()
            .contains("connections[0].rules[0].delay"),
        "{refused}"
    );
}

async fn text_of(system: &System) -> String {
    let rows = system.api().list("/v1/connections").await;
    Value::Array(rows).to_string()
}
