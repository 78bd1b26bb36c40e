//! Many at once: what an operation takes is told before, one goes first, the rest at a rate; it
//! survives restarts, and makes nothing twice.

use hookplane_tests::{Receiver, System, until};
use http::Method;
use serde_json::{Value, json};

const BODY: &str = r#"{"type":"user.created","data":{"id":"user_1"}}"#;
const EVENTS: &str = "/v1/events/bulk_operations";

fn once() -> Value {
    json!([{ "type": "retry", "count": 0 }])
}

/// So many events that failed for good on one branch. Gives the source's and the connection's id.
async fn failed(system: &System, receiver: &Receiver, count: usize) -> (String, String) {
    let (source, connection) = system.clerk_to(receiver, once()).await;
    receiver.always_answers(Some(500));
    for _ in 0..count {
        source.send(BODY).await;
    }
    until("all have failed", || async {
        let counts = system.api().get("/v1/events/count").await;
        (counts["failed"] == count).then_some(())
    })
    .await;
    receiver.always_answers(None);
    (source.id, connection)
}

async fn until_it_is(system: &System, id: &str, status: &str) -> Value {
    until(&format!("the operation is {status}"), || async {
        let found = system.api().get(&format!("{EVENTS}/{id}")).await;
        (found["status"] == status).then_some(found)
    })
    .await
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_events_are_counted_then_sent_again_once_each_and_carry_the_operation() {
    let system = System::start().await;
    let receiver = Receiver::start().await;
    let (source, connection) = failed(&system, &receiver, 7).await;
    let api = system.api();
    let all = api.list("/v1/events?status=FAILED").await;
    // Sent again by a person already: not a target.
    let by_hand = text(&all[0], "id");
    api.post(&format!("/v1/events/{by_hand}/retry"), json!({}))
        .await;
    receiver.got(8).await;

    let selection = json!({ "from": "now-1h", "source_id": source });
    let preview = api
        .post(&format!("{EVENTS}/preview"), selection.clone())
        .await;
    assert_eq!(preview["count"], 6, "{preview}");
    assert_eq!(preview["models"][0]["connection_id"], connection.as_str());
    assert_eq!(preview["models"][0]["status"], "FAILED");
    assert!(preview["oldest_at"].is_string() && preview["newest_at"].is_string());
    assert_eq!(receiver.so_far().len(), 8, "a preview sent something");

    let begin = format!("{EVENTS}?rate=1000&request_id=mine");
    let (status, begun) = api
        .call(Method::POST, &begin, Some(selection.clone()))
        .await;
    assert_eq!(status, 201, "{begun}");
    assert_eq!(
        (text(&begun, "type"), &begun["total_count"]),
        ("event_bulk_retry", &json!(6))
    );
    let id = text(&begun, "id").to_owned();
    let (_, again) = api.call(Method::POST, &begin, Some(selection)).await;
    assert_eq!(
        text(&again, "id"),
        id,
        "the same call began another operation"
    );

    let ended = until_it_is(&system, &id, "COMPLETED").await;
    let counts = [
        "made_count",
        "done_count",
        "failed_count",
        "remaining_count",
    ];
    let counts = counts.map(|name| ended[name].clone());
    assert_eq!(counts, [json!(6), json!(6), json!(0), json!(0)], "{ended}");
    assert_eq!(
        receiver.so_far().len(),
        14,
        "one was sent twice, or not at all"
    );
    let made = api
        .list(&format!("/v1/events?batch_operation_id={id}"))
        .await;
    assert_eq!(made.len(), 6);
    assert!(
        made.iter().all(|event| event["retry_kind"] == "bulk"),
        "{made:?}"
    );
    let ongoing = api.list(&format!("{EVENTS}?bucket=ongoing")).await;
    assert!(ongoing.is_empty(), "{ongoing:?}");
    let (status, refused) = api
        .call(Method::POST, &format!("{EVENTS}/{id}/cancel"), None)
        .await;
    assert_eq!(
        (status.as_u16(), text(&refused, "code")),
        (409, "BULK_OPERATION_ENDED"),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_that_fails_holds_the_rest_until_a_person_lets_it_go() {
    let system = System::start().await;
    let receiver = Receiver::start().await;
    let (_, _) = failed(&system, &receiver, 5).await;
    receiver.answers(&[500]);
    let begin = format!("{EVENTS}?rate=1000&canary=true");
    let begun = system.api().post(&begin, json!({})).await;
    let id = text(&begun, "id").to_owned();
    let paused = until_it_is(&system, &id, "PAUSED").await;
    assert_eq!(
        paused["made_count"], 1,
        "more than the canary went: {paused}"
    );
    assert!(
        text(&paused, "status_reason").contains("canary"),
        "{paused}"
    );
    assert_eq!(receiver.so_far().len(), 6);

    system
        .api()
        .post(&format!("{EVENTS}/{id}/resume"), json!({}))
        .await;
    let ended = until_it_is(&system, &id, "COMPLETED").await;
    assert_eq!(
        (&ended["made_count"], &ended["done_count"]),
        (&json!(5), &json!(4)),
        "{ended}"
    );

    // What failed again has a canary of its own, which succeeds.
    let begun = system.api().post(&begin, json!({})).await;
    let id = text(&begun, "id").to_owned();
    let ended = until_it_is(&system, &id, "COMPLETED").await;
    assert_eq!(
        (&ended["made_count"], &ended["done_count"]),
        (&json!(1), &json!(1)),
        "{ended}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_survives_both_planes_and_a_paused_or_cancelled_one_makes_nothing_more() {
    let mut system = System::with_agents(2).await;
    let receiver = Receiver::start().await;
    let (source, _) = system.clerk_to(&receiver, once()).await;
    let elsewhere = source.at(&system.ingest(1));
    // Not 5xx: its circuit would open.
    receiver.always_answers(Some(422));
    for _ in 0..30 {
        source.send(BODY).await;
        elsewhere.send(BODY).await;
    }
    until("all have failed", || async {
        let counts = system.api().get("/v1/events/count").await;
        (counts["failed"] == 60).then_some(())
    })
    .await;
    receiver.always_answers(None);

    let begun = system
        .api()
        .post(&format!("{EVENTS}?rate=20"), json!({}))
        .await;
    let id = text(&begun, "id").to_owned();
    assert_eq!(begun["total_count"], 60, "{begun}");
    until("some were sent", || async {
        let found = system.api().get(&format!("{EVENTS}/{id}")).await;
        (found["made_count"].as_u64()? > 3).then_some(())
    })
    .await;
    system.kill_agent(0).await;
    system.kill_control_plane().await;
    system.start_control_plane().await;
    system.start_agent(0).await;

    let paused = system
        .api()
        .post(&format!("{EVENTS}/{id}/pause"), json!({}))
        .await;
    assert_eq!(paused["status"], "PAUSED");
    let resumed = system
        .api()
        .post(&format!("{EVENTS}/{id}/resume"), json!({}))
        .await;
    assert_eq!(resumed["status"], "RUNNING");
    let ended = until_it_is(&system, &id, "COMPLETED").await;
    assert_eq!(
        (&ended["made_count"], &ended["done_count"]),
        (&json!(60), &json!(60)),
        "{ended}"
    );
    let made = system
        .api()
        .list(&format!("/v1/events?limit=255&batch_operation_id={id}"))
        .await;
    let mut parents: Vec<&str> = made
        .iter()
        .map(|event| text(event, "retry_parent_event_id"))
        .collect();
    parents.sort_unstable();
    parents.dedup();
    assert_eq!(
        (made.len(), parents.len()),
        (60, 60),
        "one was sent again twice"
    );

    let slow = format!("{EVENTS}?rate=1");
    let all = json!({ "status": "SUCCESSFUL" });
    let begun = system.api().post(&slow, all).await;
    let id = text(&begun, "id").to_owned();
    let cancelled = system
        .api()
        .post(&format!("{EVENTS}/{id}/cancel"), json!({}))
        .await;
    assert_eq!(cancelled["status"], "CANCELLED", "{cancelled}");
    assert_eq!(cancelled["cancelable"], false);
    assert_eq!(cancelled["remaining_count"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_a_window_go_through_todays_rules_and_refused_ones_are_verified_again() {
    let system = System::start().await;
    let receiver = Receiver::start().await;
    let strict = json!([{ "type": "filter", "body": { "type": "session.created" } }]);
    let (source, connection) = system.clerk_to(&receiver, strict).await;
    for _ in 0..4 {
        source.send(BODY).await;
    }
    // A forged one stays refused: it is skipped, with the reason.
    source.post(Method::POST, "/", &[], BODY).await;
    until("the refused one is listed", || async {
        let counts = system.api().get("/v1/requests/count").await;
        (counts["rejected"] == 1 && counts["accepted"] == 4).then_some(())
    })
    .await;
    assert!(
        receiver.so_far().is_empty(),
        "the filter let something pass"
    );
    let path = format!("/v1/connections/{connection}");
    system
        .api()
        .ok(Method::PATCH, &path, Some(json!({ "rules": [] })))
        .await;
    system.settled().await;

    let api = system.api();
    let requests = "/v1/requests/bulk_operations";
    let preview = api.post(&format!("{requests}/preview"), json!({})).await;
    assert_eq!(preview["count"], 5, "{preview}");
    let begun = api.post(&format!("{requests}?rate=500"), json!({})).await;
    assert_eq!(text(&begun, "type"), "request_bulk_retry");
    let id = text(&begun, "id").to_owned();
    let ended = until_it_is(&system, &id, "COMPLETED").await;
    assert_eq!(
        (&ended["made_count"], &ended["skipped_count"]),
        (&json!(4), &json!(1)),
        "{ended}"
    );
    assert!(
        text(&ended, "skipped_reason").contains("refused again"),
        "{ended}"
    );
    assert_eq!(ended["done_count"], 4, "{ended}");
    assert_eq!(receiver.so_far().len(), 4);
    let replays = api.list("/v1/requests?limit=10").await;
    let made: Vec<_> = replays
        .iter()
        .filter(|request| request["batch_operation_id"] == id.as_str())
        .collect();
    assert_eq!(made.len(), 4);
    assert_eq!(made[0]["retry_kind"], "bulk");
    let listed = api.list(requests).await;
    assert_eq!(listed.len(), 1);
}
