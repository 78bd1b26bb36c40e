//! A 2xx is not yet work done: what handlers say of it is seen, searched and repaired.

use hookplane_tests::{Receiver, System, until};
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
