//! Parts that die, hang and come back; nothing accepted is lost.

use std::time::Duration;

use hookplane_tests::{Receiver, System, until};
use http::Method;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

const BODY: &str = r#"{"type":"user.created"}"#;

/// Retries soon and often, so that tests need not wait for the usual minutes.
fn quick_retries() -> Value {
    json!([{ "type": "retry", "strategy": "linear", "count": 20, "interval": 1000 }])
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_control_plane_an_agent_accepts_and_delivers_even_after_a_restart() {
    let mut system = System::start().await;
    let receiver = Receiver::start().await;
    let (source, _) = system.clerk_to(&receiver, json!([])).await;
    system.kill_control_plane().await;
    assert_eq!(source.send(BODY).await.status, 200);
    receiver.got(1).await;

    system.stop_agent(0).await;
    system.start_agent(0).await;
    let source = source.at(&system.ingest(0));
    assert_eq!(source.send(BODY).await.status, 200);
    receiver.got(2).await;

    system.start_control_plane().await;
    system.settled().await;
    let listed = until("both requests are listed again", || async {
        let rows = system.api().list("/v1/requests").await;
        (rows.len() == 2).then_some(rows)
    })
    .await;
    assert!(listed.iter().all(|row| row["status"] == "accepted"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_control_plane_finds_its_agents_and_changes_still_arrive() {
    let mut system = System::start().await;
    let receiver = Receiver::start().await;
    let (source, _) = system.clerk_to(&receiver, json!([])).await;
    system.stop_control_plane().await;
    system.start_control_plane().await;
    system.settled().await;
    let other = system.clerk("another").await;
    system.settled().await;
    assert_eq!(other.send(BODY).await.status, 200);
    assert_eq!(source.send(BODY).await.status, 200);
    receiver.got(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_was_down_gets_everything_when_it_is_back() {
    let system = System::start().await;
    let receiver = Receiver::start().await;
    let (source, _) = system.clerk_to(&receiver, quick_retries()).await;
    receiver.goes_down();
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(source.send(BODY).await.request_id());
    }
    let trace = system
        .trace_until(&ids[0], "a refused connection is in the trace", |trace| {
            trace["events"][0]["event"]["status"] == "SCHEDULED"
        })
        .await;
    assert_eq!(
        trace["events"][0]["attempts"][0]["error_code"],
        "connect_refused"
    );
    receiver.comes_back().await;
    receiver.got(5).await;
    for id in ids {
        let trace = system
            .trace_until(&id, "the event is delivered", |trace| {
                trace["events"][0]["event"]["status"] == "SUCCESSFUL"
            })
            .await;
        assert!(
            trace["events"][0]["attempts"]
                .as_array()
                .is_some_and(|tries| tries.len() >= 2)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_survive_a_restart_of_the_agent() {
    let mut system = System::start().await;
    let receiver = Receiver::start().await;
    let (source, _) = system.clerk_to(&receiver, quick_retries()).await;
    receiver.always_answers(Some(500));
    let id = source.send(BODY).await.request_id();
    receiver.got(1).await;
    system.kill_agent(0).await;
    receiver.always_answers(None);
    let before = receiver.so_far();
    system.start_agent(0).await;
    let got = receiver.got(before.len() + 1).await;
    let last = got.last().expect("there are some");
    assert_eq!(last.body, BODY.as_bytes());
    assert_eq!(last.header("hookplane-request-id"), Some(id.as_str()));
    assert_eq!(
        last.header("hookplane-event-id"),
        before[0].header("hookplane-event-id")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_moves_the_next_try() {
    let system = System::start().await;
    let receiver = Receiver::start().await;
    // By itself between 1.04 and 1.56 s: two seconds are more, and not more than twice as many.
    let rules = json!([{ "type": "retry", "strategy": "linear", "count": 3, "interval": 1300 }]);
    let (source, _) = system.clerk_to(&receiver, rules).await;
    receiver.answers_with(429, "retry-after", "2");
    let id = source.send(BODY).await.request_id();
    let trace = system
        .trace_until(&id, "the event is delivered", |trace| {
            trace["events"][0]["event"]["status"] == "SUCCESSFUL"
        })
        .await;
    let first = &trace["events"][0]["attempts"][0];
    assert_eq!(first["response_status"], 429);
    let decision = first["decision"].as_str().expect("a decision");
    assert!(
        decision.to_lowercase().contains("retry-after"),
        "{decision}"
    );
    let waits = at(first, "next_attempt_at") - at(first, "responded_at");
    assert_eq!(waits, time::Duration::seconds(2));
    let second = &trace["events"][0]["attempts"][1];
    assert!(
        at(second, "started_at") >= at(first, "next_attempt_at"),
        "{first} {second}"
    );
}

fn at(attempt: &Value, field: &str) -> OffsetDateTime {
    let text = attempt[field].as_str().expect("a time");
    OffsetDateTime::parse(text, &Rfc3339).expect("RFC 3339")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_receiver_keeps_nobody_else_waiting() {
    let system = System::start().await;
    let (slow, quick) = (Receiver::start().await, Receiver::start().await);
    slow.takes(Duration::from_secs(60));
    let source = system.clerk("Clerk").await;
    for (name, receiver) in [("slow", &slow), ("quick", &quick)] {
        let to = system.destination(name, receiver).await;
        system.connect(&source, name, &to, json!([])).await;
    }
    system.settled().await;
    for _ in 0..100 {
        assert_eq!(source.send(BODY).await.status, 200);
    }
    quick.got(100).await;
    assert!(
        slow.so_far().is_empty(),
        "the slow one has answered already"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_event_is_retried_by_hand_with_the_same_bytes() {
    let system = System::start().await;
    let receiver = Receiver::start().await;
    let rules = json!([{ "type": "retry", "count": 0, "interval": 1000 }]);
    let (source, _) = system.clerk_to(&receiver, rules).await;
    receiver.answers(&[500]);
    let id = source.send(BODY).await.request_id();
    let trace = system
        .trace_until(&id, "the event has failed", |trace| {
            trace["events"][0]["event"]["status"] == "FAILED"
        })
        .await;
    let event = trace["events"][0]["event"]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let path = format!("/v1/events/{event}/retry");
    let (status, answer) = system.api().call(Method::POST, &path, None).await;
    assert_eq!(status, 202, "{answer}");
    let replay = answer["replay_event_id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let got = receiver.got(2).await;
    assert_eq!(got[1].body, got[0].body);
    assert_eq!(got[1].header("hookplane-event-id"), Some(replay.as_str()));
    let event = until("the new event is delivered", || async {
        let event = system.api().get(&format!("/v1/events/{replay}")).await;
        (event["status"] == "SUCCESSFUL").then_some(event)
    })
    .await;
    assert_eq!(event["is_retry"], true);
    let (status, answer) = system
        .api()
        .call(
            Method::POST,
            "/v1/events/evt_00000000000000000000000000/retry",
            None,
        )
        .await;
    assert_eq!(status, 404, "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resend_heals_exactly_the_branch_that_failed_for_good() {
    let system = System::start().await;
    let (well, ill) = (Receiver::start().await, Receiver::start().await);
    let source = system.clerk("Clerk").await;
    let rules = json!([{ "type": "retry", "count": 0, "interval": 1000 }]);
    for (name, receiver) in [("well", &well), ("ill", &ill)] {
        let to = system.destination(name, receiver).await;
        system.connect(&source, name, &to, rules.clone()).await;
    }
    system.settled().await;
    ill.answers(&[500]);
    let now = hookplane_tests::sender::now();
    let id = source.send_as("msg_healed", now, BODY).await.request_id();
    system
        .trace_until(&id, "one branch has failed", |trace| {
            let events = trace["events"].as_array().cloned().unwrap_or_default();
            let with = |status: &str| events.iter().any(|one| one["event"]["status"] == status);
            with("FAILED") && with("SUCCESSFUL")
        })
        .await;
    let again = source.send_as("msg_healed", now + 1, BODY).await;
    assert_eq!(again.request_id(), id);
    ill.got(2).await;
    assert_eq!(
        well.so_far().len(),
        1,
        "the branch that had gone well was sent again"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_connection_cancels_what_it_had_pending() {
    let system = System::start().await;
    let receiver = Receiver::start().await;
    let (source, connection) = system.clerk_to(&receiver, quick_retries()).await;
    receiver.always_answers(Some(500));
    let id = source.send(BODY).await.request_id();
    receiver.got(1).await;
    let path = format!("/v1/connections/{connection}");
    system.api().ok(Method::DELETE, &path, None).await;
    let trace = system
        .trace_until(&id, "the event is cancelled", |trace| {
            trace["events"][0]["event"]["status"] == "CANCELLED"
        })
        .await;
    assert_eq!(trace["events"][0]["event"]["ignored_reason"], "OPERATOR");
}

#[tokio::test(flavor = "multi_thread")]
async fn moving_a_source_to_another_pool_and_back_loses_no_pending_event() {
    let system = System::start().await;
    let receiver = Receiver::start().await;
    let (source, _) = system.clerk_to(&receiver, quick_retries()).await;
    receiver.always_answers(Some(500));
    source.send(BODY).await;
    let before = receiver.got(1).await.len();
    let path = format!("/v1/sources/{}", source.id);
    let moved = |pool: &str| Some(json!({ "pool": pool }));
    system
        .api()
        .ok(Method::PATCH, &path, moved("elsewhere"))
        .await;
    system.settled().await;
    until("the agent does not take the source any more", || async {
        (source.send(BODY).await.status == 404).then_some(())
    })
    .await;
    let counts = system.api().get("/v1/events/count").await;
    assert_eq!(counts["cancelled"], 0, "{counts}");
    receiver.always_answers(None);
    system
        .api()
        .ok(Method::PATCH, &path, moved("default"))
        .await;
    system.settled().await;
    receiver.got(before + 1).await;
    until("the event is delivered", || async {
        let counts = system.api().get("/v1/events/count").await;
        (counts["successful"] == counts["count"]).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_control_plane_begins_a_new_epoch_and_cancels_nothing() {
    let mut system = System::start().await;
    let receiver = Receiver::start().await;
    let old = system.clerk("old").await;
    system.settled().await;
    system.stop_control_plane().await;
    let data = system.dir().join("control-plane");
    let database = data.join("control-plane.db");
    let backup = std::fs::read(&database).expect("a backup");
    system.start_control_plane().await;
    system.settled().await;

    let (source, _) = system.clerk_to(&receiver, quick_retries()).await;
    receiver.always_answers(Some(500));
    source.send(BODY).await;
    receiver.got(1).await;
    let epoch = system.api().get("/v1/status").await["epoch"].clone();
    system.stop_control_plane().await;
    std::fs::write(&database, backup).expect("the backup is put back");
    for rest in ["control-plane.db-wal", "control-plane.db-shm"] {
        drop(std::fs::remove_file(data.join(rest)));
    }
    system.start_control_plane().await;
    until(
        "a new epoch begins, as its revisions would mean two things",
        || async {
            let status = system.api().get("/v1/status").await;
            (status["epoch"] != epoch).then_some(())
        },
    )
    .await;
    system.settled().await;
    assert_eq!(
        old.send(BODY).await.status,
        200,
        "what the backup has works"
    );
    assert_eq!(
        source.send(BODY).await.status,
        404,
        "what it has not is gone"
    );
    let counts = until("the agent can be asked", || async {
        let counts = system.api().get("/v1/events/count").await;
        (counts["partial"] == false).then_some(counts)
    })
    .await;
    assert_eq!(
        (&counts["cancelled"], &counts["count"]),
        (&json!(0), &json!(1)),
        "{counts}"
    );
}
