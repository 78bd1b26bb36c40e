//! Bodies that are JSON but past what a filter can look at.

use hookplane_agent::accept::IngestLimits;
use hookplane_agent::ids::{IdMint, Kind};
use hookplane_agent::store::{EventStatus, Store as _};

use crate::world::{NOW, TEAM, start};

#[tokio::test]
async fn a_filter_that_cannot_read_the_body_fails_its_branch_and_says_why() {
    let agent = start(IngestLimits::default()).await;
    let deep = format!(
        r#"{{"type":"user.created","data":{}1{}}}"#,
        "[".repeat(500),
        "]".repeat(500)
    );
    let large = r#"{"type":"user.created","data":1e999}"#;
    for (id, body) in [("msg_deep", deep.as_str()), ("msg_large", large)] {
        let told = agent.clerk(id, body.as_bytes()).await;
        assert_eq!(told.status, 200);
        let request_id = told.json()["request_id"].as_str().unwrap().to_owned();
        let history = agent.store.history(TEAM, &request_id).await.unwrap();
        let events = history.unwrap().events;
        let of = |connection: &str| {
            let found = events
                .iter()
                .find(|event| event.connection_id == connection);
            found.unwrap().clone()
        };
        let failed = of("web_user");
        assert_eq!(failed.status, EventStatus::Failed);
        let why = failed.failure_message.clone().unwrap();
        assert!(why.contains("the body cannot be read"), "{why}");
        assert_eq!(failed.next_attempt_at, None);
        // A branch without a filter does not care.
        assert_eq!(of("web_all").status, EventStatus::Queued);
        assert_eq!(agent.store.imbalance().await.unwrap(), 0);

        // A person who knows better can send it.
        let new_id = IdMint::new(3).mint(Kind::Event, NOW);
        let again = agent.store.retry_event(TEAM, &failed.id, new_id, NOW).await;
        let again = again.unwrap();
        assert_eq!(again.status, EventStatus::Queued);
        assert_eq!((again.error_code, again.failure_message), (None, None));
    }
}

#[tokio::test]
async fn what_is_no_json_is_filtered_as_before() {
    let agent = start(IngestLimits::default()).await;
    let bodies: [&[u8]; 3] = [b"{\"type\":", b"text", b"{\"type\":\"\xff\"}"];
    for (number, body) in bodies.into_iter().enumerate() {
        let told = agent.clerk(&format!("msg_{number}"), body).await;
        let request_id = told.json()["request_id"].as_str().unwrap().to_owned();
        let history = agent.store.history(TEAM, &request_id).await.unwrap();
        let failed = history.unwrap().events;
        let failed = failed.iter().filter(|e| e.status == EventStatus::Failed);
        assert_eq!(failed.count(), 0);
    }
}
