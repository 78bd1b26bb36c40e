//! A 2xx is not yet work done: what handlers say of it is seen, searched and repaired.

use hookplane_tests::{Api, Receiver, System, until};
use http::Method;
use serde_json::{Value, json};

const BODY: &str = r#"{"type":"user.created"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_drop_is_found_shown_and_sent_again() {
    let system = System::start().await;
    let receiver = Receiver::start().await;
    let source = system.clerk("Clerk").await;
    let config = json!({
        "url": receiver.url(),
        "path_forwarding_disabled": true,
        "reports_outcome": true,
    });
    let wanted = json!({ "name": "profiles", "type": "HTTP", "config": config });
    let to = system.api().post("/v1/destinations", wanted).await;
    assert_eq!(to["config"]["reports_outcome"], true, "{to}");
    let to = to["id"].as_str().expect("an id");
    system.connect(&source, "all", to, json!([])).await;
    system.settled().await;

    receiver.answers_with(200, "hookplane-outcome", "silent_drop");
    let dropped = source.send(BODY).await.request_id();
    let event = one_by(&system, "SILENT_DROP").await;
    assert_eq!(event["request_id"], *dropped);
    assert_eq!(event["status"], "FAILED");
    assert_eq!(event["error_code"], "handler_silent_drop");
    let counted = "/v1/events/count?handler_outcome=SILENT_DROP";
    let counted = system.api().get(counted).await;
    assert_eq!(counted["failed"], 1, "{counted}");
    let trace = system
        .trace_until(&dropped, "the handler's word is in the trace", |trace| {
            trace["timeline"]
                .to_string()
                .contains("handler: silent_drop")
        })
        .await;
    let attempt = &trace["events"][0]["attempts"][0];
    assert_eq!(attempt["handler"]["outcome"], "SILENT_DROP");
    let kept = attempt["response_headers"].to_string();
    assert!(!kept.contains("hookplane-outcome"), "{kept}");

    receiver.answers_with(200, "hookplane-outcome", "completed");
    let id = event["id"].as_str().expect("an id");
    let again = format!("/v1/events/{id}/retry");
    system.api().post(&again, json!({})).await;
    let done = one_by(&system, "COMPLETED").await;
    assert_eq!(done["status"], "SUCCESSFUL");
    assert_eq!(done["retry_parent_event_id"], event["id"]);

    // A handler that should have reported, and did not.
    let silent = source.send(BODY).await.request_id();
    let event = one_by(&system, "UNREPORTED").await;
    assert_eq!(event["request_id"], *silent);
    assert_eq!(event["status"], "SUCCESSFUL");

    let unknown = "/v1/events?handler_outcome=SPLENDID";
    let (status, _) = system.api().call(Method::GET, unknown, None).await;
    assert!(status.is_client_error(), "{unknown} gives {status}");
}

/// The one event of this outcome, once it is there.
async fn one_by(system: &System, outcome: &str) -> Value {
    let path = format!("/v1/events?handler_outcome={outcome}");
    until("an event has this outcome", || async {
        let mut rows = system.api().list(&path).await;
        assert!(rows.len() <= 1, "several are {outcome}: {rows:?}");
        rows.pop()
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_says_what_came_of_an_event_when_the_answer_did_not() {
    let system = System::start().await;
    let receiver = Receiver::start().await;
    let (source, _) = system.clerk_to(&receiver, json!([])).await;
    let other = system.clerk("Other").await;
    let key = async |source: &str| {
        let wanted = json!({ "name": "users", "source_ids": [source] });
        system.api().post("/v1/handler-keys", wanted).await
    };
    let (own, foreign) = (key(&source.id).await, key(&other.id).await);
    system.settled().await;
    let handler = |key: &Value| {
        let key = key["key"].as_str().expect("it is shown once").to_owned();
        Api::new(format!("http://{}", system.ingest(0)), key)
    };
    let (own_calls, foreign_calls) = (handler(&own), handler(&foreign));
    let reports = |handler: Api, reports: Value| async move {
        let body = Some(json!({ "reports": reports }));
        handler
            .call(Method::POST, "/handlers/v1/reports", body)
            .await
    };

    let request = source.send(BODY).await.request_id();
    let delivery = receiver.got(1).await.remove(0);
    let event = delivery.header("hookplane-event-id").expect("an id");
    let report = |event: &str| {
        json!({
            "id": "r-1", "source": source.id, "event_id": event, "attempt": 1,
            "outcome": "silent_drop", "reason": "no branch for it", "sdk": "test/1",
        })
    };
    let (status, refused) = reports(foreign_calls.clone(), json!([report(event)])).await;
    assert_eq!(status, 401, "a key of another source is good: {refused}");
    assert_eq!(refused["code"], "HANDLER_KEY_REFUSED");
    let unknown = report("evt_00000000000000000000000000");
    let strange = json!({ "id": "r-2", "source": source.id, "outcome": "splendid" });
    let several = json!([report(event), unknown, strange]);
    let (status, heard) = reports(own_calls.clone(), several).await;
    assert_eq!(status, 202, "{heard}");
    assert_eq!(heard["accepted"], 1, "{heard}");
    assert_eq!(heard["refused"][0]["code"], "EVENT_UNKNOWN");
    assert_eq!(heard["refused"][1]["code"], "REPORT_INVALID");
    let (_, again) = reports(own_calls.clone(), json!([report(event)])).await;
    assert_eq!(again["accepted"], 1, "it cannot be sent again: {again}");

    let found = one_by(&system, "SILENT_DROP").await;
    assert_eq!(found["request_id"], *request);
    assert_eq!(found["status"], "SUCCESSFUL");
    let (status, _) = own_calls
        .call(Method::GET, "/handlers/v1/reports", None)
        .await;
    assert_eq!(status, 405);
    let (status, _) = reports(own_calls.clone(), json!([])).await;
    assert_eq!(status, 400);

    let id = own["id"].as_str().expect("an id");
    let revoke = format!("/v1/handler-keys/{id}");
    system.api().ok(Method::DELETE, &revoke, None).await;
    until("the agent refuses the revoked key", || async {
        let (status, _) = reports(own_calls.clone(), json!([report(event)])).await;
        (status == 401).then_some(())
    })
    .await;
}
