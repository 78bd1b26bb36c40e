//! The live tail: over all agents, joined by later ones, honest about gaps.

use hookplane_proto::agent::v1::command_stream_request::Result as Answer;
use hookplane_proto::agent::v1::command_stream_response::Command;
use hookplane_proto::v1;
use hookplane_proto::v1::tail_requests_response::Item;
use tonic::Streaming;

use crate::evidence::Holder;
use crate::plane::{Plane, within};

const SILENT: fn(&crate::evidence::Witness, &Command) -> Option<Answer> = |_, _| None;

fn is_tail(command: &Command) -> bool {
    matches!(command, Command::TailRequests(_))
}

fn is_cancel(command: &Command) -> bool {
    matches!(command, Command::Cancel(_))
}

pub(crate) fn stored(id: &str) -> Answer {
    let request = v1::Request {
        id: id.to_owned(),
        ..v1::Request::default()
    };
    Answer::TailRequests(v1::TailRequestsResponse {
        item: Some(Item::Stored(v1::RequestStored {
            request: Some(request),
            events: Vec::new(),
        })),
    })
}

pub(crate) async fn open(plane: &Plane) -> Streaming<v1::TailRequestsResponse> {
    let tail = plane
        .requests()
        .tail_requests(v1::TailRequestsRequest::default())
        .await;
    tail.expect("a tail").into_inner()
}

async fn next(tail: &mut Streaming<v1::TailRequestsResponse>) -> Item {
    let item = within("an item of the tail", tail.message()).await;
    item.expect("an open tail")
        .expect("an item")
        .item
        .expect("content")
}

pub(crate) async fn next_id(tail: &mut Streaming<v1::TailRequestsResponse>) -> String {
    match next(tail).await {
        Item::Stored(stored) => stored.request.expect("a request").id,
        other => panic!("{other:?} instead of a request"),
    }
}

#[tokio::test]
async fn a_tail_follows_every_agent_and_those_that_join() {
    let plane = Plane::start().await;
    let one = Holder::scripted(&plane, "edge-1", &[], Box::new(SILENT)).await;
    let mut tail = open(&plane).await;
    let (id, team) = one.witness.heard("the tail", is_tail).await;
    assert_eq!(team, plane.team);
    one.witness.say(id, stored("req_1")).await;
    assert_eq!(next_id(&mut tail).await, "req_1");
    let two = Holder::scripted(&plane, "edge-2", &[], Box::new(SILENT)).await;
    let (second, _) = two.witness.heard("the tail", is_tail).await;
    two.witness.say(second, stored("req_2")).await;
    assert_eq!(next_id(&mut tail).await, "req_2");
    one.leave(&plane).await;
    two.witness.say(second, stored("req_3")).await;
    assert_eq!(next_id(&mut tail).await, "req_3", "the others go on");
    drop(tail);
    two.witness.heard("the end of the tail", is_cancel).await;
}

#[tokio::test]
async fn a_slow_reader_is_told_how_much_it_missed() {
    let plane = Plane::start().await;
    let one = Holder::scripted(&plane, "edge-1", &[], Box::new(SILENT)).await;
    let mut tail = open(&plane).await;
    let (id, _) = one.witness.heard("the tail", is_tail).await;
    // Large enough that no buffer of the connection holds them all.
    let total: u64 = 4_000;
    let long = "x".repeat(4_096);
    for number in 0..total {
        one.witness
            .say(id, stored(&format!("req_{number}_{long}")))
            .await;
    }
    let (mut seen, mut skipped) = (0, 0);
    while seen + skipped < total {
        match next(&mut tail).await {
            Item::Gap(gap) => skipped += gap.skipped,
            Item::Stored(_) => seen += 1,
            Item::Attempt(other) => panic!("{other:?} was never sent"),
        }
    }
    assert!(skipped > 0, "who did not read missed something");
    assert_eq!(seen + skipped, total, "every item is told or counted");
    one.witness.say(id, stored("req_last")).await;
    assert_eq!(next_id(&mut tail).await, "req_last", "the tail goes on");
}

#[tokio::test]
async fn a_tail_that_no_agent_can_give_ends_with_the_reason() {
    let plane = Plane::start().await;
    let refuse = |_: &_, command: &Command| {
        is_tail(command).then(|| {
            Answer::Error(hookplane_proto::agent::v1::CommandError {
                code: 8,
                message: "there are 16 tails already".to_owned(),
                hint: "end one of them".to_owned(),
            })
        })
    };
    let _one = Holder::scripted(&plane, "edge-1", &[], Box::new(refuse)).await;
    let mut tail = open(&plane).await;
    let ended = within("the end of the tail", tail.message()).await;
    let ended = ended.expect_err("refused");
    assert_eq!(ended.code(), tonic::Code::ResourceExhausted);
}

#[tokio::test]
async fn a_tail_with_free_text_is_refused_before_any_agent_is_asked() {
    let plane = Plane::start().await;
    let asked = v1::TailRequestsRequest {
        q: "invoice".into(),
        ..v1::TailRequestsRequest::default()
    };
    let refused = plane.requests().tail_requests(asked).await;
    let refused = refused.map(drop).expect_err("refused");
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
}
