//! Who saw payloads and who ordered something stands in the audit record of his team.

use hookplane_proto::agent::v1::command_stream_request::Result as Answer;
use hookplane_proto::agent::v1::command_stream_response::Command;
use hookplane_proto::id::{Id, Kind};
use hookplane_proto::v1;

use crate::evidence::{Holder, Script};
use crate::plane::Plane;

const BODY: &[u8] = b"the payload nobody shall find in a record";

/// An agent with one request and one event.
async fn holder(plane: &Plane) -> Holder {
    let script: Script = Box::new(|witness, command| {
        Some(match command {
            Command::GetRequest(asked) => Answer::GetRequest(v1::Request {
                id: asked.id.clone(),
                data: Some(v1::RequestData {
                    body: BODY.to_vec(),
                    ..v1::RequestData::default()
                }),
                ..v1::Request::default()
            }),
            Command::ListRequests(_) => Answer::ListRequests(v1::ListRequestsResponse::default()),
            Command::CancelEvent(asked) => Answer::CancelEvent(v1::Event {
                id: asked.id.clone(),
                ..v1::Event::default()
            }),
            Command::ReplayRequest(asked) => Answer::ReplayRequest(v1::ReplayRequestResponse {
                request_id: asked.id.clone(),
                replay_request_id: "req_new".to_owned(),
                ..v1::ReplayRequestResponse::default()
            }),
            _ => return witness.answer(command),
        })
    });
    Holder::scripted(plane, "edge-1", &[7], script).await
}

async fn recorded(plane: &Plane) -> Vec<v1::AuditEntry> {
    let asked = v1::ListAuditRequest::default();
    let found = plane.audit().list_audit(asked).await;
    let all = found.expect("the record").into_inner().models;
    let of_evidence = |entry: &v1::AuditEntry| {
        ["request", "event", "attempt"].contains(&entry.resource_type.as_str())
    };
    all.into_iter().filter(of_evidence).collect()
}

#[tokio::test]
async fn whoever_reads_a_payload_is_recorded_with_what_and_never_with_the_payload() {
    let plane = Plane::start().await;
    let one = holder(&plane).await;
    let id = Id::new(Kind::Request, 7, one.agent.store, 7).to_string();
    let asked = v1::GetRequestRequest { id: id.clone() };
    let read = plane.requests().get_request(asked).await;
    assert!(read.expect("it is there").into_inner().data.is_some());
    let entries = recorded(&plane).await;
    assert_eq!(entries.len(), 1, "{entries:?}");
    let entry = &entries[0];
    assert_eq!((entry.action.as_str(), &entry.resource_id), ("read", &id));
    assert!(!entry.key_id.is_empty(), "nobody is named");
    assert!(
        !format!("{entry:?}").contains("payload nobody"),
        "{entry:?}"
    );

    // A list without payloads is nobody's secret, a search in them is.
    let plain = v1::ListRequestsRequest::default();
    plane
        .requests()
        .list_requests(plain.clone())
        .await
        .expect("a page");
    assert_eq!(recorded(&plane).await.len(), 1);
    let search = v1::ListRequestsRequest {
        q: "4111 1111".to_owned(),
        ..plain
    };
    plane
        .requests()
        .list_requests(search)
        .await
        .expect("a page");
    let entries = recorded(&plane).await;
    assert_eq!(entries.len(), 2);
    assert!(
        !format!("{:?}", entries[0]).contains("4111"),
        "what was searched for is kept"
    );
}

#[tokio::test]
async fn orders_are_recorded_with_what_came_of_them_and_refused_ones_are_not() {
    let plane = Plane::start().await;
    let one = holder(&plane).await;
    let event = one.witness.events[0].id.clone();
    let request = Id::new(Kind::Request, 7, one.agent.store, 7).to_string();
    let retry = |id: String| v1::RetryEventRequest { id };
    plane
        .events()
        .retry_event(retry(event.clone()))
        .await
        .expect("it is there");
    let unknown = Id::new(Kind::Event, 8, one.agent.store, 8).to_string();
    plane
        .events()
        .retry_event(retry(unknown))
        .await
        .expect_err("it is not there");
    let cancel = v1::CancelEventRequest { id: event.clone() };
    plane
        .events()
        .cancel_event(cancel)
        .await
        .expect("it is there");
    let replay = v1::ReplayRequestRequest {
        id: request.clone(),
        ..v1::ReplayRequestRequest::default()
    };
    plane
        .requests()
        .replay_request(replay)
        .await
        .expect("it is there");
    let entries = recorded(&plane).await;
    let told: Vec<_> = entries
        .iter()
        .map(|entry| (entry.action.as_str(), entry.resource_id.as_str()))
        .collect();
    let wanted = [
        ("replay", request.as_str()),
        ("cancel", event.as_str()),
        ("retry", event.as_str()),
    ];
    assert_eq!(told, wanted);
    let after = format!("{:?}", entries[0].after);
    assert!(after.contains("req_new"), "{after}");
}
