//! Questions to the agents: merged lists, look-ups at the right store, orders.

use std::time::Duration;

use hookplane_control_plane::fleet::Timings;
use hookplane_proto::agent::v1::CommandError;
use hookplane_proto::agent::v1::command_stream_request::Result as Answer;
use hookplane_proto::agent::v1::command_stream_response::Command;
use hookplane_proto::id::{Id, Kind};
use hookplane_proto::v1;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::evidence::{Holder, event};
use crate::plane::Plane;

const DAY: u64 = 1_789_990_000_000;

fn page(limit: u32, page_token: &str) -> v1::ListEventsRequest {
    v1::ListEventsRequest {
        limit,
        page_token: page_token.to_owned(),
        ..v1::ListEventsRequest::default()
    }
}

fn times(of: &[v1::Event]) -> Vec<u64> {
    let time = |event: &v1::Event| Id::parse(Kind::Event, &event.id).expect("an id").millis();
    of.iter().map(|event| time(event) - DAY).collect()
}

#[tokio::test]
async fn lists_merge_all_agents_newest_first_page_by_page() {
    let plane = Plane::start().await;
    let _one = Holder::of(&plane, "edge-1", &[DAY + 1, DAY + 4, DAY + 5]).await;
    let _two = Holder::of(&plane, "edge-2", &[DAY + 2, DAY + 3, DAY + 6, DAY + 7]).await;
    let (mut token, mut seen) = (String::new(), Vec::new());
    for _ in 0..4 {
        let answer = plane.events().list_events(page(2, &token)).await;
        let answer = answer.expect("a page").into_inner();
        assert!(!answer.partial, "{:?}", answer.unreachable);
        assert_eq!(answer.count as usize, answer.models.len());
        seen.extend(times(&answer.models));
        token = answer.pagination.expect("a cursor").next;
    }
    assert_eq!(seen, [7, 6, 5, 4, 3, 2, 1]);
    assert_eq!(token, "", "the last page has no next one");
}

#[tokio::test]
async fn ranges_reach_the_agents_as_absolute_times() {
    let plane = Plane::start().await;
    let one = Holder::of(&plane, "edge-1", &[DAY]).await;
    let asked = v1::ListEventsRequest {
        from: "now-24h".to_owned(),
        ..page(0, "")
    };
    let answer = plane
        .events()
        .list_events(asked)
        .await
        .expect("a page")
        .into_inner();
    let range = answer.applied_range.expect("a range");
    let (from, to) = (range.from.expect("from"), range.to.expect("to"));
    assert_eq!(to.seconds - from.seconds, 86_400);
    let Some(Command::ListEvents(sent)) = one.witness.asked().pop() else {
        panic!("the agent was asked for a list");
    };
    assert_eq!(
        (sent.from.as_str(), sent.limit),
        ("2026-09-20T14:13:20Z", 100)
    );
}

#[tokio::test]
async fn counts_add_up_over_agents() {
    let plane = Plane::start().await;
    let _one = Holder::of(&plane, "edge-1", &[1, 2, 3]).await;
    let _two = Holder::of(&plane, "edge-2", &[4]).await;
    let count = plane
        .events()
        .count_events(v1::CountEventsRequest::default())
        .await;
    let count = count.expect("a count").into_inner();
    assert_eq!((count.count, count.failed, count.partial), (4, 4, false));
}

#[tokio::test]
async fn an_agent_that_is_away_or_silent_makes_a_list_partial() {
    let timings = Timings {
        command: Duration::from_millis(300),
        ..Timings::default()
    };
    let plane = Plane::with(timings).await;
    let _one = Holder::of(&plane, "edge-1", &[DAY + 1]).await;
    let two = Holder::of(&plane, "edge-2", &[DAY + 2]).await;
    let three = Holder::scripted(&plane, "edge-3", &[], Box::new(|_, _| None)).await;
    // Enrolled and never connected: it cannot hold anything.
    crate::agent::TestAgent::enrolled(&plane, "edge-4", "default").await;
    two.leave(&plane).await;
    let answer = plane.events().list_events(page(0, "")).await;
    let answer = answer.expect("a page").into_inner();
    assert_eq!(times(&answer.models), [1], "what the others have is there");
    assert!(answer.partial);
    let missing: Vec<_> = answer
        .unreachable
        .iter()
        .map(|agent| agent.name.as_str())
        .collect();
    assert_eq!(missing, ["edge-2", "edge-3"], "{:?}", answer.unreachable);
    assert!(
        answer
            .unreachable
            .iter()
            .all(|agent| !agent.reason.is_empty())
    );
    assert_eq!(plane.fleet.gauges().commands_timed_out, 1);
    let is_cancel = |command: &Command| matches!(command, Command::Cancel(_));
    three
        .witness
        .heard("the command taken back", is_cancel)
        .await;
}

#[tokio::test]
async fn a_look_up_goes_to_the_one_store_that_the_id_names() {
    let plane = Plane::start().await;
    let one = Holder::of(&plane, "edge-1", &[DAY + 1]).await;
    let two = Holder::of(&plane, "edge-2", &[DAY + 2]).await;
    let id = two.witness.events[0].id.clone();
    let asked = v1::GetEventRequest { id: id.clone() };
    let found = plane
        .events()
        .get_event(asked)
        .await
        .expect("found")
        .into_inner();
    assert_eq!(found.id, id);
    assert!(
        one.witness.asked().is_empty(),
        "the other store was not asked"
    );
    let (_, team) = two.witness.heard("the look-up", |_| true).await;
    assert_eq!(team, plane.team, "for the caller's team");
    let of_request = v1::ListEventsRequest {
        request_id: Id::new(Kind::Request, DAY, one.agent.store, 1).to_string(),
        ..page(0, "")
    };
    plane
        .events()
        .list_events(of_request)
        .await
        .expect("a page");
    assert_eq!(
        two.witness.asked().len(),
        1,
        "lists of one request go to its store"
    );
    assert_eq!(one.witness.asked().len(), 1);
}

#[tokio::test]
async fn a_look_up_that_fails_says_what_to_do() {
    let plane = Plane::start().await;
    let one = Holder::of(&plane, "edge-1", &[DAY + 1]).await;
    let get = async |id: String| {
        let refused = plane.events().get_event(v1::GetEventRequest { id }).await;
        refused.expect_err("refused")
    };
    let gone = get(event(one.agent.store, 77).id).await;
    assert_eq!(gone.code(), Code::NotFound, "the agent does not know it");
    assert_eq!(gone.message(), "there is no such event");
    let nowhere = get(event(99, 1).id).await;
    assert_eq!(nowhere.code(), Code::NotFound, "no such store");
    let known = one.witness.events[0].id.clone();
    one.leave(&plane).await;
    let away = get(known).await;
    assert_eq!(away.code(), Code::Unavailable);
    let info = away
        .get_error_details()
        .error_info()
        .cloned()
        .expect("error info");
    assert_eq!(info.reason, "AGENT_AWAY");
    assert!(info.metadata["hint"].contains("edge-1"), "{info:?}");
    let wrong = get("evt_short".to_owned()).await;
    assert_eq!(wrong.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_retry_goes_to_the_store_of_the_event_and_brings_its_refusal() {
    let plane = Plane::start().await;
    let one = Holder::of(&plane, "edge-1", &[DAY + 1]).await;
    let refuse = |_: &_, _: &_| {
        Some(Answer::Error(CommandError {
            code: 9,
            message: "the event is still pending".to_owned(),
            hint: "wait for its last attempt".to_owned(),
        }))
    };
    let two = Holder::scripted(&plane, "edge-2", &[DAY + 2], Box::new(refuse)).await;
    let retry = async |holder: &Holder| {
        let id = holder.witness.events[0].id.clone();
        plane
            .events()
            .retry_event(v1::RetryEventRequest { id })
            .await
    };
    let made = retry(&one).await.expect("retried").into_inner();
    assert_eq!(made.event_id, one.witness.events[0].id);
    let made = Id::parse(Kind::Event, &made.replay_event_id).expect("an id");
    assert_eq!(made.store(), one.agent.store);
    let refused = retry(&two).await.expect_err("refused");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let info = refused
        .get_error_details()
        .error_info()
        .cloned()
        .expect("error info");
    assert_eq!(info.metadata["hint"], "wait for its last attempt");
}

#[tokio::test]
async fn bad_questions_are_refused_before_any_agent_is_asked() {
    let plane = Plane::start().await;
    let one = Holder::of(&plane, "edge-1", &[DAY]).await;
    let good = || page(0, "");
    let cases = [
        ("limit", page(256, "")),
        ("page_token", page(0, "req_1")),
        (
            "from",
            v1::ListEventsRequest {
                from: "yesterday".to_owned(),
                ..good()
            },
        ),
        (
            "status",
            v1::ListEventsRequest {
                status: 99,
                ..good()
            },
        ),
        (
            "source_id",
            v1::ListEventsRequest {
                source_id: "des_1".to_owned(),
                ..good()
            },
        ),
    ];
    for (field, asked) in cases {
        let refused = plane.events().list_events(asked).await.expect_err(field);
        assert_eq!(refused.code(), Code::InvalidArgument, "{field}");
        let details = refused.get_error_details();
        let named = details.bad_request().expect("a named field");
        assert_eq!(named.field_violations[0].field, field);
    }
    let asked = v1::ListRequestsRequest {
        include: "everything".to_owned(),
        ..v1::ListRequestsRequest::default()
    };
    let refused = plane
        .requests()
        .list_requests(asked)
        .await
        .expect_err("include");
    assert_eq!(refused.code(), Code::InvalidArgument);
    let asked = v1::ListAttemptsRequest {
        event_id: "evt_x".to_owned(),
        ..v1::ListAttemptsRequest::default()
    };
    let refused = plane
        .attempts()
        .list_attempts(asked)
        .await
        .expect_err("event_id");
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(one.witness.asked().is_empty(), "{:?}", one.witness.asked());
}

#[tokio::test]
async fn a_question_under_way_ends_when_its_agent_leaves() {
    let plane = Plane::start().await;
    let one = Holder::scripted(&plane, "edge-1", &[DAY], Box::new(|_, _| None)).await;
    let id = one.witness.events[0].id.clone();
    let mut client = plane.events();
    let asking = client.get_event(v1::GetEventRequest { id });
    let leaving = async {
        one.witness.heard("the look-up", |_| true).await;
        one.leave(&plane).await;
    };
    let (refused, ()) = tokio::join!(asking, leaving);
    let refused = refused.expect_err("no answer came");
    assert_eq!(refused.code(), Code::Unavailable);
    assert_eq!(
        plane.fleet.gauges().commands_timed_out,
        0,
        "no deadline had to pass"
    );
}
