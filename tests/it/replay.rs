//! What people do after something went wrong: look at the failures by cause, stop an event, and
//! send a request through today's rules again.

use hookplane_signature::{Provider, sign};
use hookplane_tests::sender::{SECRET, message_id, now};
use hookplane_tests::{Receiver, System, until};
use http::Method;
use serde_json::{Value, json};

const BODY: &str = r#"{"type":"user.created","data":{"id":"user_1"}}"#;

fn no_retry() -> Value {
    json!([{ "type": "retry", "count": 0, "interval": 1000 }])
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_replayed_through_todays_rules_exactly_and_with_another_body() {
    let system = System::start().await;
    let receiver = Receiver::start().await;
    let (source, connection) = system.clerk_to(&receiver, no_retry()).await;
    let now = now();
    let id = source.send_as("msg_once", now, BODY).await.request_id();
    let first = receiver.got(1).await.remove(0);

    let replay = format!("/v1/requests/{id}/retry");
    let (status, answer) = system
        .api()
        .call(Method::POST, &replay, Some(json!({ "modifications": {} })))
        .await;
    assert_eq!(status, 202, "{answer}");
    assert_eq!(answer["replay_mode"], "exact");
    assert_eq!(answer["events_count"], 1, "a replay was taken for a repeat");
    let exact = receiver.got(2).await.remove(1);
    assert_eq!(exact.body, first.body);
    let made = text(&answer, "replay_request_id").to_owned();
    assert_eq!(exact.header("hookplane-request-id"), Some(made.as_str()));
    let row = system.api().get(&format!("/v1/requests/{made}")).await;
    assert_eq!(row["retry_parent_request_id"], id.as_str());
    assert_eq!(row["is_retry"], true);
    assert_eq!(row["verified"], true);

    let other = BODY.replace("user_1", "user_2");
    let changes =
        json!({ "modifications": { "body_text": other, "set_headers": { "x-why": "mended" } } });
    let (status, answer) = system
        .api()
        .call(Method::POST, &replay, Some(changes))
        .await;
    assert_eq!(status, 202, "{answer}");
    assert_eq!(answer["replay_mode"], "modified");
    let changed = receiver.got(3).await.remove(2);
    assert_eq!(changed.body, other.as_bytes());
    assert_eq!(changed.header("x-why"), Some("mended"));
    let made = text(&answer, "replay_request_id").to_owned();
    let row = system.api().get(&format!("/v1/requests/{made}")).await;
    assert_eq!(row["verified"], false, "a changed body was called verified");
    assert_eq!(row["modified"], true);
    let trace = system
        .api()
        .get(&format!("/v1/requests/{made}/trace"))
        .await;
    let arrival = text(&trace["timeline"][0], "text");
    let told = format!("not verified, made from {id} changed");
    assert!(arrival.ends_with(&told), "{arrival}");

    let rules = json!({ "rules": [{ "type": "filter", "body": { "type": "session.created" } }] });
    let path = format!("/v1/connections/{connection}");
    system.api().ok(Method::PATCH, &path, Some(rules)).await;
    system.settled().await;
    let answer = system.api().post(&replay, json!({})).await;
    assert_eq!(
        answer["events_count"], 0,
        "yesterday's rules were used: {answer}"
    );
    assert_eq!(answer["ignored_count"], 1);
    let trace = system.api().get(&format!("/v1/requests/{id}/trace")).await;
    let replays = trace["replay_request_ids"].as_array().map_or(0, Vec::len);
    assert_eq!(replays, 3, "{trace}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_request_is_replayed_once_the_secret_is_right() {
    let system = System::start().await;
    let receiver = Receiver::start().await;
    let wrong = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    let source = system.source("Clerk", Provider::Clerk, wrong).await;
    let to = system.destination("service", &receiver).await;
    system.connect(&source, "all", &to, no_retry()).await;
    system.settled().await;
    let headers = sign(
        Provider::Clerk,
        SECRET,
        &message_id(),
        now(),
        BODY.as_bytes(),
    );
    let headers = headers.expect("it can be signed");
    let refused = source.post(Method::POST, "/", &headers, BODY).await;
    assert_eq!(refused.status, 401);
    let id = refused.request_id();
    until("the refused request can be looked up", || async {
        let path = format!("/v1/requests/{id}");
        let (status, _) = system.api().call(Method::GET, &path, None).await;
        status.is_success().then_some(())
    })
    .await;
    let replay = format!("/v1/requests/{id}/retry");
    let (status, answer) = system
        .api()
        .call(Method::POST, &replay, Some(json!({})))
        .await;
    assert_eq!(status, 409, "a forged request was let in: {answer}");
    let right = json!({ "config": { "auth_type": "PROVIDER_SIGNATURE", "auth": { "provider": "CLERK", "webhook_signing_secret": SECRET } } });
    let path = format!("/v1/sources/{}", source.id);
    system.api().ok(Method::PATCH, &path, Some(right)).await;
    system.settled().await;
    let answer = system.api().post(&replay, json!({})).await;
    assert_eq!(answer["original_rejection_cause"], "SOURCE_AUTH_FAILED");
    assert_eq!(receiver.got(1).await[0].body, BODY.as_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_body_was_never_read_is_replayed_with_a_body_only() {
    let system = System::start().await;
    let receiver = Receiver::start().await;
    let (source, _) = system.clerk_to(&receiver, no_retry()).await;
    let posts = json!({ "config": { "allowed_http_methods": ["POST"] } });
    let path = format!("/v1/sources/{}", source.id);
    system.api().ok(Method::PATCH, &path, Some(posts)).await;
    system.settled().await;
    let headers = sign(
        Provider::Clerk,
        SECRET,
        &message_id(),
        now(),
        BODY.as_bytes(),
    );
    let headers = headers.expect("it can be signed");
    let refused = source.post(Method::PUT, "", &headers, BODY).await;
    assert_eq!(refused.status, 405);
    let id = refused.request_id();
    until("the refused request can be looked up", || async {
        let path = format!("/v1/requests/{id}");
        let (status, _) = system.api().call(Method::GET, &path, None).await;
        status.is_success().then_some(())
    })
    .await;
    let replay = format!("/v1/requests/{id}/retry");
    let exact = json!({ "modifications": { "method": "POST" } });
    let (status, answer) = system.api().call(Method::POST, &replay, Some(exact)).await;
    assert_eq!(status, 409, "an empty body was sent for it: {answer}");
    let forged = json!({ "modifications": { "method": "POST", "body_text": "{}" } });
    let (status, answer) = system.api().call(Method::POST, &replay, Some(forged)).await;
    assert_eq!(
        status, 409,
        "a body that nobody signed was let in: {answer}"
    );
    let whole = json!({ "modifications": { "method": "POST", "body_text": BODY } });
    system.api().post(&replay, whole).await;
    assert_eq!(receiver.got(1).await[0].body, BODY.as_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_shown_by_cause_with_the_next_step_until_they_are_sent_again() {
    let system = System::start().await;
    let receiver = Receiver::start().await;
    let (source, connection) = system.clerk_to(&receiver, no_retry()).await;
    receiver.answers(&[401, 401, 500]);
    for count in 1..=3 {
        source.send(BODY).await;
        receiver.got(count).await;
    }
    let letters = until("three failures are told", || async {
        let letters = system.api().get("/v1/events/dead_letters").await;
        (letters["count"] == 3).then_some(letters)
    })
    .await;
    let groups = letters["models"].as_array().expect("groups");
    assert_eq!(groups.len(), 2, "{letters}");
    assert_eq!(groups[0]["count"], 2);
    assert_eq!(groups[0]["response_status"], 401);
    assert_eq!(groups[0]["connection_id"], connection.as_str());
    assert!(
        text(&groups[0], "next_step").contains("credentials"),
        "{letters}"
    );
    assert_eq!(groups[1]["origin"], "RECEIVER");
    let event = text(&groups[1], "newest_event_id");
    let path = format!("/v1/events/{event}/retry");
    system.api().post(&path, json!({})).await;
    until("what was sent again is told no more", || async {
        let letters = system.api().get("/v1/events/dead_letters").await;
        (letters["count"] == 2).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_stops_an_event_that_waits_for_its_next_try() {
    let system = System::start().await;
    let receiver = Receiver::start().await;
    let rules = json!([{ "type": "retry", "count": 5, "interval": 3_600_000 }]);
    let (source, _) = system.clerk_to(&receiver, rules).await;
    receiver.always_answers(Some(500));
    let id = source.send(BODY).await.request_id();
    let trace = system
        .trace_until(&id, "the event waits", |trace| {
            trace["events"][0]["event"]["status"] == "SCHEDULED"
        })
        .await;
    let event = text(&trace["events"][0]["event"], "id").to_owned();
    let path = format!("/v1/events/{event}/cancel");
    let stopped = system.api().post(&path, json!({})).await;
    assert_eq!(stopped["status"], "CANCELLED");
    assert_eq!(stopped["ignored_reason"], "OPERATOR");
    let (status, answer) = system
        .api()
        .call(Method::POST, &path, Some(json!({})))
        .await;
    assert_eq!(status, 409, "{answer}");
}
