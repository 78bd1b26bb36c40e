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
