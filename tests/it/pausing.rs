//! A connection is paused and resumed: nothing is lost, nothing is sent meanwhile, and siblings go on.

use hookplane_tests::{Receiver, System, until};
use http::Method;
use serde_json::{Value, json};

const BODY: &str = r#"{"type":"user.created","data":{"id":"user_1"}}"#;

async fn events(system: &System, query: &str) -> Vec<Value> {
    system.api().list(&format!("/v1/events?{query}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_branch_holds_its_events_while_its_sibling_goes_on_and_lets_them_go_when_resumed()
{
    let mut system = System::start().await;
    let (slow, other) = (Receiver::start().await, Receiver::start().await);
    let source = system.clerk("Clerk").await;
    let to_slow = system.destination("slow", &slow).await;
    let to_other = system.destination("other", &other).await;
    let paused = system.connect(&source, "slow", &to_slow, json!([])).await;
    system.connect(&source, "other", &to_other, json!([])).await;
    let path = format!("/v1/connections/{paused}");
    let shown = system
        .api()
        .ok(Method::PUT, &format!("{path}/pause"), None)
        .await;
    assert!(shown["paused_at"].is_string(), "{shown}");
    system.settled().await;

    let id = source.send(BODY).await.request_id();
    for _ in 0..4 {
        source.send(BODY).await;
    }
    other.got(5).await;
    let held = events(&system, "status=HOLD").await;
    assert_eq!(held.len(), 5, "{held:?}");
    assert!(
        held.iter()
            .all(|event| event["connection_id"] == paused.as_str())
    );
    let counts = system.api().get("/v1/events/count").await;
    assert_eq!(
        (&counts["hold"], &counts["queued"]),
        (&json!(5), &json!(0)),
        "{counts}"
    );
    let trace = system.api().get(&format!("/v1/requests/{id}/trace")).await;
    let told = trace["timeline"].as_array().expect("a timeline");
    let told = told.iter().any(|entry| entry["kind"] == "event.held");
    assert!(
        told,
        "the trace does not say that the event is held: {trace}"
    );

    // The agent goes on holding across its own restart, also without the control plane.
    system.stop_control_plane().await;
    system.kill_agent(0).await;
    system.start_agent(0).await;
    system.start_control_plane().await;
    system.settled().await;
    until("the agent shows what it holds", || async {
        (events(&system, "status=HOLD").await.len() == 5).then_some(())
    })
    .await;
    assert!(slow.so_far().is_empty(), "a held event was sent");

    let resumed = system
        .api()
        .ok(Method::PUT, &format!("{path}/unpause?rate=20"), None)
        .await;
    assert_eq!(resumed["paused_at"], Value::Null);
    assert_eq!(resumed["drain"]["rate"], 20, "{resumed}");
    slow.got(5).await;
    until("nothing is held any more", || async {
        let counts = system.api().get("/v1/events/count").await;
        (counts["hold"] == 0 && counts["successful"] == 10).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_event_can_be_stopped_and_a_retry_of_a_failed_one_is_held_too() {
    let system = System::start().await;
    let receiver = Receiver::start().await;
    let once = json!([{ "type": "retry", "count": 0 }]);
    let (source, connection) = system.clerk_to(&receiver, once).await;
    receiver.answers(&[500]);
    source.send(BODY).await;
    let failed = until("the event failed", || async {
        events(&system, "status=FAILED").await.pop()
    })
    .await;
    let path = format!("/v1/connections/{connection}");
    system
        .api()
        .ok(Method::POST, &format!("{path}/pause"), None)
        .await;
    system.settled().await;
    let failed = failed["id"].as_str().expect("an id");
    system
        .api()
        .post(&format!("/v1/events/{failed}/retry"), json!({}))
        .await;
    let held = until("the retry is held", || async {
        events(&system, "status=HOLD").await.pop()
    })
    .await;
    assert_eq!(held["retry_parent_event_id"], failed);
    let id = held["id"].as_str().expect("an id");
    let stopped = system
        .api()
        .post(&format!("/v1/events/{id}/cancel"), json!({}))
        .await;
    assert_eq!(stopped["status"], "CANCELLED");
    system
        .api()
        .ok(Method::POST, &format!("{path}/unpause"), None)
        .await;
    system.settled().await;
    assert_eq!(receiver.so_far().len(), 1, "a stopped event was sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_event_is_released_for_one_try_and_held_again_when_that_fails() {
    let system = System::start().await;
    let receiver = Receiver::start().await;
    let (source, connection) = system.clerk_to(&receiver, json!([])).await;
    let pause = format!("/v1/connections/{connection}/pause");
    system.api().ok(Method::PUT, &pause, None).await;
    system.settled().await;
    source.send(BODY).await;
    source.send(BODY).await;
    let held = until("both are held", || async {
        let rows = events(&system, "status=HOLD").await;
        (rows.len() == 2).then_some(rows)
    })
    .await;
    let id = held[0]["id"].as_str().expect("an id");
    let release = format!("/v1/events/{id}/release");
    receiver.answers(&[503]);
    let (status, told) = system.api().call(Method::POST, &release, None).await;
    assert_eq!(
        (status.as_u16(), &told["status"]),
        (202, &json!("QUEUED")),
        "{told}"
    );
    let again = until("its try has failed and it is held again", || async {
        let event = system.api().get(&format!("/v1/events/{id}")).await;
        (event["attempts"] == 1 && event["status"] == "HOLD").then_some(event)
    })
    .await;
    assert_eq!(again["response_status"], 503);
    system.api().call(Method::POST, &release, None).await;
    until("the next try succeeds, before it would be due", || async {
        let event = system.api().get(&format!("/v1/events/{id}")).await;
        (event["status"] == "SUCCESSFUL").then_some(())
    })
    .await;
    assert_eq!(receiver.so_far().len(), 2, "the other held event was sent");
    let (status, refused) = system.api().call(Method::POST, &release, None).await;
    assert_eq!(status, 409, "what is delivered was released: {refused}");
}
