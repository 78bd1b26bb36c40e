//! What rules of a connection make of its events.

use hookplane_tests::{Receiver, System, until};
use http::Method;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

const THIRTY_DAYS: u64 = 30 * 24 * 60 * 60 * 1_000;

async fn events(system: &System, query: &str) -> Vec<Value> {
    system.api().list(&format!("/v1/events?{query}")).await
}

/// The one event of a request on a connection.
async fn event(system: &System, request: &str, connection: &str) -> Value {
    let of = format!("request_id={request}&connection_id={connection}");
    until("the event is shown", || async {
        events(system, &of).await.pop()
    })
    .await
}

/// The one branch of a request that got no event.
async fn left_out(system: &System, request: &str) -> Value {
    let trace = format!("/v1/requests/{request}/trace");
    until("the trace shows the branch", || async {
        let trace = system.api().get(&trace).await;
        trace["ignored_events"].as_array()?.first().cloned()
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delayed_event_is_scheduled_over_a_restart_and_then_sent_while_its_sibling_goes_at_once()
{
    let mut system = System::start().await;
    let (soon, late, other) = (
        Receiver::start().await,
        Receiver::start().await,
        Receiver::start().await,
    );
    let source = system.clerk("Clerk").await;
    let mut made = Vec::new();
    for (name, receiver, rules) in [
        ("soon", &soon, json!([{"type": "delay", "delay": 4_000}])),
        (
            "late",
            &late,
            json!([{"type": "delay", "delay": THIRTY_DAYS}]),
        ),
        ("other", &other, json!([])),
    ] {
        let to = system.destination(name, receiver).await;
        made.push(system.connect(&source, name, &to, rules).await);
    }
    system.settled().await;

    let request = source.send(r#"{"type":"user.created"}"#).await.request_id();
    other.got(1).await;
    system.kill_agent(0).await;
    system.start_agent(0).await;
    system.settled().await;

    let waits = event(&system, &request, &made[1]).await;
    assert_eq!(waits["status"], "SCHEDULED", "{waits}");
    assert!(waits["next_attempt_at"].is_string(), "{waits}");
    soon.got(1).await;
    let sent = until("the delayed event is sent", || async {
        let sent = event(&system, &request, &made[0]).await;
        (sent["status"] == "SUCCESSFUL").then_some(sent)
    })
    .await;
    assert_eq!(sent["attempts"], 1, "{sent}");
    assert!(late.so_far().is_empty(), "a delayed event was sent");

    // What waits can be stopped.
    let id = waits["id"].as_str().expect("an id");
    let stopped = system
        .api()
        .post(&format!("/v1/events/{id}/cancel"), json!({}))
        .await;
    assert_eq!(stopped["status"], "CANCELLED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_in_the_body_delays_an_event_and_one_that_cannot_be_read_fails_it_with_its_reason() {
    let system = System::start().await;
    let receiver = Receiver::start().await;
    let rules = json!([{"type": "delay", "until": "data.send_at"}]);
    let (source, connection) = system.clerk_to(&receiver, rules).await;

    let past = r#"{"type":"user.created","data":{"send_at":"2001-01-01T00:00:00Z"}}"#;
    let request = source.send(past).await.request_id();
    receiver.got(1).await;

    let came = event(&system, &request, &connection).await["created_at"].clone();
    let came = OffsetDateTime::parse(came.as_str().expect("a time"), &Rfc3339).expect("a time");
    let in_a_week = came.unix_timestamp() + 7 * 24 * 60 * 60;
    let week = json!({"type": "user.created", "data": {"send_at": in_a_week}}).to_string();
    let request = source.send(week).await.request_id();
    let waits = event(&system, &request, &connection).await;
    assert_eq!(waits["status"], "SCHEDULED", "{waits}");

    let far = format!(
        r#"{{"data":{{"send_at":{}}}}}"#,
        in_a_week + 30 * 24 * 60 * 60
    );
    let none = [
        r#"{"data":{}}"#,
        r#"{"data":{"send_at":"soon"}}"#,
        "no JSON",
    ];
    for body in none.map(str::to_owned).into_iter().chain([far]) {
        // Accepted all the same: the sender did nothing wrong.
        let request = source.send(body.clone()).await.request_id();
        let failed = event(&system, &request, &connection).await;
        assert_eq!(
            (&failed["status"], &failed["error_code"]),
            (&json!("FAILED"), &json!("delay_failed")),
            "{body}: {failed}"
        );
        let why = failed["failure_message"].as_str().unwrap_or_default();
        assert!(why.contains("time") || why.contains("30 days"), "{why}");
    }
    assert_eq!(receiver.so_far().len(), 1, "an event was sent too early");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_on_one_connection_is_left_out_over_a_restart_while_its_sibling_gets_it() {
    let mut system = System::start().await;
    let (once, always) = (Receiver::start().await, Receiver::start().await);
    let source = system.clerk("Clerk").await;
    let rule = json!(
        {"type": "deduplicate", "window": 3_600_000, "include_fields": ["body.data.id"]}
    );
    let to = system.destination("once", &once).await;
    system.connect(&source, "once", &to, json!([rule])).await;
    let to = system.destination("always", &always).await;
    system.connect(&source, "always", &to, json!([])).await;
    system.settled().await;

    let user = |id: &str, name: &str| {
        json!({"type": "user.updated", "data": {"id": id, "name": name}}).to_string()
    };
    let first = source.send(user("user_1", "a")).await.request_id();
    once.got(1).await;
    let again = source.send(user("user_1", "b")).await.request_id();
    system.kill_agent(0).await;
    system.start_agent(0).await;
    system.settled().await;
    let source = source.at(&system.ingest(0));
    let later = source.send(user("user_1", "c")).await.request_id();
    for repeat in [&again, &later] {
        let left_out = left_out(&system, repeat).await;
        assert_eq!(
            (&left_out["status"], &left_out["ignored_reason"]),
            (&json!("CANCELLED"), &json!("DUPLICATE")),
            "{left_out}"
        );
        assert!(left_out.to_string().contains(&first), "{left_out}");
    }
    // Another one, and what has no key at all.
    source.send(user("user_2", "a")).await;
    source.send(r#"{"type":"user.updated"}"#).await;
    source.send(r#"{"type":"user.updated","data":{}}"#).await;
    once.got(4).await;
    always.got(6).await;

    // A replay is wanted.
    let replay = format!("/v1/requests/{later}/retry");
    system.api().post(&replay, json!({})).await;
    once.got(5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_a_repeat_of_an_event_that_failed() {
    let system = System::start().await;
    let receiver = Receiver::start().await;
    let rules = json!([
        {"type": "deduplicate", "window": 3_600_000, "include_fields": ["path", "headers.x-key"]},
        {"type": "retry", "count": 0},
    ]);
    let (source, connection) = system.clerk_to(&receiver, rules).await;
    receiver.answers(&[400]);
    let request = source.send(r#"{"type":"a"}"#).await.request_id();
    until("the first one fails", || async {
        let failed = event(&system, &request, &connection).await;
        (failed["status"] == "FAILED").then_some(())
    })
    .await;
    source.send(r#"{"type":"b"}"#).await;
    receiver.got(2).await;
    let third = source.send(r#"{"type":"c"}"#).await.request_id();
    let left_out = left_out(&system, &third).await;
    assert_eq!(left_out["ignored_reason"], "DUPLICATE", "{left_out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_delay_is_refused_and_rules_keep_their_order() {
    let system = System::start().await;
    let receiver = Receiver::start().await;
    let source = system.clerk("Clerk").await;
    let to = system.destination("users", &receiver).await;
    let one = json!({"type": "delay", "delay": 5_000});
    let two = json!({"type": "delay", "until": "data.at"});
    let body = json!({
        "name": "users", "source_id": source.id, "destination_id": to, "rules": [one, two],
    });
    let path = "/v1/connections";
    let (status, refused) = system.api().call(Method::POST, path, Some(body)).await;
    assert_eq!(status, 400, "{refused}");
    let told = refused.to_string();
    assert!(told.contains("2 delay rules; one is allowed"), "{told}");

    let filter = json!({"type": "filter", "body": {"type": "user.created"}});
    let rules = json!([one, filter]);
    let made = system.connect(&source, "users", &to, rules.clone()).await;
    let shown = system.api().get(&format!("{path}/{made}")).await;
    assert_eq!(shown["rules"], rules, "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transformed_event_is_signed_as_sent_while_the_stored_request_and_its_sibling_stay_as_they_came()
 {
    let system = System::start().await;
    let (made, plain) = (Receiver::start().await, Receiver::start().await);
    let source = system.clerk("Clerk").await;
    let code = "{
        'body': {'id': body.data.id, 'kind': body.type, 'domain': body.data.email.split('@')[1]},
        'headers': {'x-kind': body.type, 'svix-signature': null},
        'path': '/users/' + body.data.id, 'query': {'from': 'clerk'},
    }";
    let secret = "a secret of at least 24 bytes";
    let to = json!({"name": "made", "config": {
        "url": made.url(),
        "auth_type": "HOOKPLANE_SIGNATURE", "auth": {"secret": secret},
    }});
    let to = system.api().post("/v1/destinations", to).await["id"].clone();
    let to = to.as_str().expect("an id");
    let rules = json!([{"type": "transform", "code": code}]);
    let connection = system.connect(&source, "made", to, rules.clone()).await;
    let to = system.destination("plain", &plain).await;
    system.connect(&source, "plain", &to, json!([])).await;
    system.settled().await;
    let shown = system
        .api()
        .get(&format!("/v1/connections/{connection}"))
        .await;
    assert_eq!(shown["rules"], rules, "{shown}");

    let body = r#"{"type":"user.created","data":{"email":"a@example.com","id":"user_1"}}"#;
    let request = source.send(body).await.request_id();
    let sent = made.got(1).await.remove(0);
    let wanted = r#"{"domain":"example.com","id":"user_1","kind":"user.created"}"#;
    assert_eq!(sent.body, wanted.as_bytes());
    assert_eq!(sent.header("x-kind"), Some("user.created"));
    assert_eq!(sent.header("content-type"), Some("application/json"));
    assert_eq!(sent.header("svix-signature"), None);
    assert_eq!(sent.path_and_query, "/hooks/users/user_1?from=clerk");
    let at: i64 = sent
        .header("hookplane-timestamp")
        .expect("a time")
        .parse()
        .expect("a time");
    let signed = hookplane_signature::hookplane_signature(secret, at, wanted.as_bytes());
    assert_eq!(sent.header("hookplane-signature"), Some(signed.as_str()));
    assert_eq!(plain.got(1).await[0].body, body.as_bytes());

    // Before and after stand in the evidence.
    let attempt = until("the attempt is shown", || async {
        let event = event(&system, &request, &connection).await;
        let of = format!("/v1/attempts?event_id={}", event["id"].as_str()?);
        system.api().list(&of).await.pop()
    })
    .await;
    let id = attempt["id"].as_str().expect("an id");
    let attempt = system.api().get(&format!("/v1/attempts/{id}")).await;
    assert_eq!(attempt["sent_body"]["body_text"], wanted, "{attempt}");
    assert_eq!(attempt["sent_body"]["size"], wanted.len(), "{attempt}");
    let stored = system.api().get(&format!("/v1/requests/{request}")).await;
    assert_eq!(stored["data"]["body_text"], body, "{stored}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expression_lets_through_what_it_is_true_for_and_what_it_cannot_decide_fails() {
    let system = System::start().await;
    let receiver = Receiver::start().await;
    let cel = "body.amount > 100 && headers['svix-id'].startsWith('msg_')";
    let rules = json!([{"type": "filter", "cel": cel}]);
    let (source, connection) = system.clerk_to(&receiver, rules).await;
    source.send(r#"{"amount":101}"#).await;
    receiver.got(1).await;
    for without in [r#"{"amount":100}"#, r#"{"other":1}"#] {
        let request = source.send(without).await.request_id();
        let branch = left_out(&system, &request).await;
        assert_eq!(branch["ignored_reason"], "FILTERED", "{branch}");
    }
    let request = source.send(r#"{"amount":"many"}"#).await.request_id();
    let failed = event(&system, &request, &connection).await;
    assert_eq!(
        (&failed["status"], &failed["error_code"]),
        (&json!("FAILED"), &json!("filter_failed")),
        "{failed}"
    );
    assert_eq!(receiver.so_far().len(), 1);
    let test = json!({"filter": {"cel": "body.n == 1"}, "input": {"body": {"n": 1}}});
    let told = system.api().post("/v1/filters/test", test).await;
    assert_eq!(told["matched"], true, "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transformation_that_fails_sends_nothing_and_a_retry_by_the_mended_rule_heals_it() {
    let system = System::start().await;
    let receiver = Receiver::start().await;
    let rules = json!([{"type": "transform", "code": "{'body': body.data.missing}"}]);
    let (source, connection) = system.clerk_to(&receiver, rules).await;
    let request = source
        .send(r#"{"type":"a","data":{"id":1,"secret":"s3cret"}}"#)
        .await
        .request_id();
    let failed = until("the event fails", || async {
        let failed = event(&system, &request, &connection).await;
        (failed["status"] == "FAILED").then_some(failed)
    })
    .await;
    assert_eq!(failed["error_code"], "transform_failed", "{failed}");
    let why = failed["failure_message"].as_str().unwrap_or_default();
    assert!(
        why.contains("there is no `missing`") && !why.contains("s3cret"),
        "{failed}"
    );
    let dead = system.api().get("/v1/events/dead_letters").await;
    assert_eq!(dead["models"][0]["origin"], "PIPELINE", "{dead}");
    assert!(receiver.so_far().is_empty(), "something was sent");

    let mended =
        json!({"rules": [{"type": "transform", "code": "{'body': {'id': body.data.id}}"}]});
    let path = format!("/v1/connections/{connection}");
    let (status, told) = system.api().call(Method::PATCH, &path, Some(mended)).await;
    assert_eq!(status, 200, "{told}");
    system.settled().await;
    let id = failed["id"].as_str().expect("an id");
    system
        .api()
        .post(&format!("/v1/events/{id}/retry"), json!({}))
        .await;
    assert_eq!(receiver.got(1).await[0].body, r#"{"id":1}"#.as_bytes());
}
