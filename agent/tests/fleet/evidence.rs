//! Commands answered from the store, and reports that are counted once.

use std::time::Duration;

use hookplane_proto::agent::v1::command_stream_request::Result as Answer;
use hookplane_proto::agent::v1::command_stream_response::Command;
use hookplane_proto::agent::v1::{CommandError, ReportStreamRequest};
use hookplane_proto::v1;
use hookplane_proto::v1::tail_requests_response::Item;

use crate::control_plane::{ControlPlane, Conversation, Known, Questions, Verdict};
use crate::receiver::Receiver;
use crate::world::*;

/// An agent with one open source to one receiver.
struct Scene {
    place: Place,
    known: Known,
    control_plane: ControlPlane,
    agent: Running,
    receiver: Receiver,
    _conversation: Conversation,
}

async fn scene(status: u16) -> Scene {
    let known = Known::default();
    let mut control_plane = ControlPlane::start(&known, TOKEN).await;
    let place = Place::new();
    let receiver = Receiver::start(status).await;
    let agent = place.run(&control_plane).await;
    let mut conversation = control_plane.configuration().await;
    let mut with_policy = source("src_1", 1, &["des_1"]);
    never_retry(&mut with_policy);
    let resources = vec![destination("des_1", 1, &receiver.url), with_policy];
    let verdict = conversation
        .snapshot(held("e", 1, &resources), resources)
        .await;
    assert!(matches!(verdict, Verdict::Ack(_)), "{verdict:?}");
    Scene {
        place,
        known,
        control_plane,
        agent,
        receiver,
        _conversation: conversation,
    }
}

fn never_retry(resource: &mut hookplane_proto::agent::v1::Resource) {
    use hookplane_proto::agent::v1::resource::Body;
    let Some(Body::Source(group)) = &mut resource.body else {
        panic!("no source");
    };
    let rule = v1::RetryRule {
        count: 0,
        ..v1::RetryRule::default()
    };
    group.connections[0].rules = vec![v1::Rule {
        rule: Some(v1::rule::Rule::Retry(rule)),
    }];
}

async fn trace(questions: &mut Questions, id: &str) -> v1::RequestTrace {
    let command = Command::GetRequestTrace(v1::GetRequestTraceRequest { id: id.into() });
    match questions.ask(TEAM, command).await {
        Answer::GetRequestTrace(trace) => trace,
        other => panic!("{other:?}"),
    }
}

async fn refused(questions: &mut Questions, team: &str, command: Command) -> CommandError {
    match questions.ask(team, command).await {
        Answer::Error(error) => error,
        other => panic!("answered: {other:?}"),
    }
}

#[tokio::test]
async fn a_request_is_found_with_its_bytes_and_traced_to_its_delivery() {
    let mut scene = scene(200).await;
    let mut questions = scene.control_plane.commands().await;
    let id = scene.agent.accepted("src_1").await;
    until("the delivery", || !scene.receiver.got().is_empty()).await;
    let mut told = trace(&mut questions, &id).await;
    for _ in 0..100 {
        if told.attempts_count == 1 {
            break;
        }
        told = trace(&mut questions, &id).await;
    }
    let kinds: Vec<_> = told
        .timeline
        .iter()
        .map(|entry| entry.kind.as_str())
        .collect();
    assert_eq!(
        kinds,
        [
            "request.accepted",
            "event.queued",
            "attempt.successful",
            "event.successful"
        ]
    );
    assert_eq!(told.events[0].attempts[0].response_status, 200);
    let request = told.request.unwrap();
    assert!(request.data.is_none(), "a trace carries payloads");
    assert_eq!(request.agent_id, "agt_1");

    let command = Command::GetRequest(v1::GetRequestRequest { id: id.clone() });
    let Answer::GetRequest(found) = questions.ask(TEAM, command).await else {
        panic!("not found");
    };
    let data = found.data.unwrap();
    assert_eq!(
        (data.body_text.as_str(), data.method.as_str()),
        ("{\"type\":\"a\"}", "POST")
    );
    assert_eq!(found.event_type, "a");

    let command = Command::GetEvent(v1::GetEventRequest {
        id: told.events[0].event.clone().unwrap().id,
    });
    let Answer::GetEvent(event) = questions.ask(TEAM, command).await else {
        panic!("not found");
    };
    assert_eq!(event.status(), v1::EventStatus::Successful);
    scene.agent.stop().await;
}

#[tokio::test]
async fn evidence_of_another_team_does_not_exist() {
    let mut scene = scene(200).await;
    let mut questions = scene.control_plane.commands().await;
    let id = scene.agent.accepted("src_1").await;
    let get = Command::GetRequest(v1::GetRequestRequest { id: id.clone() });
    assert_eq!(refused(&mut questions, "tm_2", get.clone()).await.code, 5);
    assert_eq!(refused(&mut questions, "", get).await.code, 3);
    let list = Command::ListRequests(v1::ListRequestsRequest::default());
    let Answer::ListRequests(page) = questions.ask("tm_2", list).await else {
        panic!("refused");
    };
    assert!(page.models.is_empty());
    scene.agent.stop().await;
}

#[tokio::test]
async fn lists_are_paged_and_counted_and_bad_questions_say_what_would_be_right() {
    let mut scene = scene(200).await;
    let mut questions = scene.control_plane.commands().await;
    let mut ids = vec![scene.agent.accepted("src_1").await];
    for _ in 0..2 {
        ids.push(scene.agent.accepted("src_1").await);
    }
    let (mut seen, mut token) = (Vec::new(), String::new());
    loop {
        let list = v1::ListRequestsRequest {
            from: "now-1h".into(),
            limit: 2,
            page_token: token,
            ..v1::ListRequestsRequest::default()
        };
        let Answer::ListRequests(page) = questions.ask(TEAM, Command::ListRequests(list)).await
        else {
            panic!("refused");
        };
        seen.extend(page.models.into_iter().map(|request| request.id));
        token = page.pagination.unwrap().next;
        if token.is_empty() {
            break;
        }
    }
    ids.sort();
    ids.reverse();
    assert_eq!(seen, ids, "newest first, each once");

    let count = Command::CountRequests(v1::CountRequestsRequest::default());
    let Answer::CountRequests(counted) = questions.ask(TEAM, count).await else {
        panic!("refused");
    };
    assert_eq!((counted.count, counted.accepted), (3, 3));
    for wrong in [
        v1::ListRequestsRequest {
            from: "yesterday".into(),
            ..v1::ListRequestsRequest::default()
        },
        v1::ListRequestsRequest {
            page_token: "evt_x".into(),
            ..v1::ListRequestsRequest::default()
        },
        v1::ListRequestsRequest {
            limit: 256,
            ..v1::ListRequestsRequest::default()
        },
    ] {
        let error = refused(&mut questions, TEAM, Command::ListRequests(wrong)).await;
        assert_eq!(error.code, 3, "{error:?}");
        assert!(!error.hint.is_empty());
    }
    scene.agent.stop().await;
}

#[tokio::test]
async fn a_failed_event_is_retried_once_asked_and_a_pending_or_unknown_one_is_not() {
    let mut scene = scene(500).await;
    let mut questions = scene.control_plane.commands().await;
    let id = scene.agent.accepted("src_1").await;
    let mut event = v1::Event::default();
    for _ in 0..400 {
        let told = trace(&mut questions, &id).await;
        event = told.events[0].event.clone().unwrap();
        if event.status() == v1::EventStatus::Failed {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(event.status(), v1::EventStatus::Failed);
    scene.receiver.answers(200);
    let retry = |id: &str| Command::RetryEvent(v1::RetryEventRequest { id: id.into() });
    let Answer::RetryEvent(made) = questions.ask(TEAM, retry(&event.id)).await else {
        panic!("refused");
    };
    assert_eq!(made.event_id, event.id);
    until("the retry", || scene.receiver.got().len() == 2).await;
    let got = scene.receiver.got();
    assert_eq!(got[0].body, got[1].body, "a retry sends other bytes");
    let told = trace(&mut questions, &id).await;
    assert_eq!(told.events.len(), 2);
    let child = told.events[1].event.clone().unwrap();
    assert_eq!(child.retry_parent_event_id, event.id);
    assert_eq!(
        refused(&mut questions, TEAM, retry("evt_unknown"))
            .await
            .code,
        5
    );
    scene.agent.stop().await;
}

#[tokio::test]
async fn a_tail_tells_what_happens_until_it_is_cancelled() {
    let mut scene = scene(200).await;
    let mut questions = scene.control_plane.commands().await;
    let tail = Command::TailRequests(v1::TailRequestsRequest::default());
    let tail = questions.tell(TEAM, tail).await;
    // Answered after the tail was taken, so the tail listens by then.
    let count = Command::CountEvents(v1::CountEventsRequest::default());
    questions.ask(TEAM, count.clone()).await;
    let id = scene.agent.accepted("src_1").await;
    let (of, Answer::TailRequests(first)) = questions.heard().await else {
        panic!("no item");
    };
    let Some(Item::Stored(stored)) = first.item else {
        panic!("{first:?}");
    };
    assert_eq!(
        (of, stored.request.unwrap().id, stored.events.len()),
        (tail, id, 1)
    );
    let (_, Answer::TailRequests(second)) = questions.heard().await else {
        panic!("no item");
    };
    assert!(matches!(second.item, Some(Item::Attempt(_))), "{second:?}");

    questions.cancel(tail).await;
    questions.ask(TEAM, count.clone()).await;
    scene.agent.accepted("src_1").await;
    until("the delivery", || scene.receiver.got().len() == 2).await;
    questions.ask(TEAM, count).await;
    scene.agent.stop().await;
}

#[tokio::test]
async fn more_tails_than_allowed_are_refused_at_once() {
    let mut scene = scene(200).await;
    let mut questions = scene.control_plane.commands().await;
    let tail = Command::TailRequests(v1::TailRequestsRequest::default());
    for _ in 0..16 {
        questions.tell(TEAM, tail.clone()).await;
    }
    assert_eq!(refused(&mut questions, TEAM, tail).await.code, 14);
    scene.agent.stop().await;
}

#[tokio::test]
async fn a_tail_refuses_free_text_because_news_carry_no_payloads() {
    let mut scene = scene(200).await;
    let mut questions = scene.control_plane.commands().await;
    let tail = Command::TailRequests(v1::TailRequestsRequest {
        q: "invoice".into(),
        ..v1::TailRequestsRequest::default()
    });
    let error = refused(&mut questions, TEAM, tail).await;
    assert_eq!(error.code, 3, "{error:?}");
    assert!(!error.hint.is_empty());
    scene.agent.stop().await;
}

fn accepted(report: &ReportStreamRequest) -> u64 {
    report.sources.iter().map(|source| source.accepted).sum()
}

#[tokio::test]
async fn reports_are_sent_again_with_the_same_numbers_until_they_are_counted() {
    let mut scene = scene(200).await;
    let mut reports = scene.control_plane.reports().await;
    scene.agent.accepted("src_1").await;
    let mut first = Vec::new();
    while first.iter().map(accepted).sum::<u64>() == 0 {
        first.push(reports.next().await);
    }
    let numbers: Vec<u64> = first.iter().map(|report| report.sequence).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());

    // Nothing was acknowledged: another control plane gets the very same reports.
    let (address, known) = (scene.control_plane.address, scene.known.clone());
    scene.control_plane.crash();
    let mut control_plane = ControlPlane::start_at(&known, TOKEN, address).await;
    let mut reports = control_plane.reports().await;
    for before in &first {
        assert_eq!(&reports.next().await, before);
    }
    let last = *numbers.last().unwrap();
    reports.acknowledge(last).await;
    scene.agent.accepted("src_1").await;
    let mut more = reports.next().await;
    while accepted(&more) == 0 {
        more = reports.next().await;
    }
    assert!(more.sequence > last);
    reports.acknowledge(more.sequence).await;
    scene.agent.stop().await;

    // Acknowledged ones are gone, and numbers go on after a restart.
    let settings = scene.place.settings(&control_plane.url());
    let agent = Running::start(settings).await;
    let mut reports = control_plane.reports().await;
    agent.accepted("src_1").await;
    let after = reports.next().await;
    assert!(
        after.sequence > last,
        "{} was counted before",
        after.sequence
    );
    agent.stop().await;
}

#[tokio::test]
async fn who_counts_nothing_is_dialled_anew_however_much_there_is_to_report() {
    let mut scene = scene(200).await;
    scene.agent.stop().await;
    let mut settings = scene.place.settings(&scene.control_plane.url());
    settings.pace.dead_after = Duration::from_millis(1_000);
    settings.pace.fold = Duration::from_millis(20);
    let agent = Running::start(settings).await;
    // Of the life before; this agent's is the next one that says something.
    drop(scene.control_plane.reports().await);
    let silent = scene.control_plane.reports().await;
    // Fewer rounds than reports that may be open: past those it would wait in any case.
    for _ in 0..150 {
        agent.accepted("src_1").await;
        let again = scene.control_plane.reports();
        if let Ok(again) = tokio::time::timeout(Duration::from_millis(50), again).await {
            drop((silent, again));
            agent.stop().await;
            return;
        }
    }
    panic!("an agent with news never asks whether anybody counts them");
}

#[tokio::test]
async fn a_report_tells_every_ending_and_the_latency_of_deliveries() {
    let mut scene = scene(500).await;
    let mut reports = scene.control_plane.reports().await;
    scene.agent.accepted("src_1").await;
    let get = scene.agent.admin_page("/healthz").await;
    assert_eq!(get, (200, "ok\n".to_owned()));
    let (mut received, mut attempts, mut latencies) = (0, 0, 0);
    while attempts == 0 || received == 0 {
        let report = reports.next().await;
        reports.acknowledge(report.sequence).await;
        received += report
            .sources
            .iter()
            .map(|source| source.received)
            .sum::<u64>();
        for destination in &report.destinations {
            assert_eq!(destination.destination_id, "des_1");
            attempts += destination.attempts;
            assert_eq!(
                destination.attempts,
                destination.failed + destination.successful
            );
            latencies += destination.delivery_latency.clone().unwrap().count;
        }
        assert!(report.gauges.unwrap().store_bytes > 0);
    }
    assert_eq!((received, attempts, latencies), (1, 1, 1));
    scene.agent.stop().await;
}

#[tokio::test]
async fn free_text_finds_what_headers_and_bodies_hold_and_says_where_it_stopped() {
    let mut scene = scene(200).await;
    let mut questions = scene.control_plane.commands().await;
    let first = scene.agent.accepted("src_1").await;
    let newest = scene.agent.accepted("src_1").await;
    let record = match questions
        .ask(
            TEAM,
            Command::GetRequest(v1::GetRequestRequest { id: first.clone() }),
        )
        .await
    {
        Answer::GetRequest(found) => found,
        other => panic!("{other:?}"),
    };
    let data = record.data.expect("its payload");
    let header = data.headers.first().expect("it has headers").name.clone();
    let body = data.body_text.to_uppercase();
    let found = async |questions: &mut Questions, q: &str, limit: u32| {
        let asked = v1::ListRequestsRequest {
            q: q.to_owned(),
            limit,
            ..v1::ListRequestsRequest::default()
        };
        match questions.ask(TEAM, Command::ListRequests(asked)).await {
            Answer::ListRequests(found) => found,
            other => panic!("{other:?}"),
        }
    };
    let ids = |found: &v1::ListRequestsResponse| {
        let ids = found.models.iter().map(|one| one.id.clone());
        ids.collect::<Vec<_>>()
    };
    let both = [newest.clone(), first.clone()];
    assert_eq!(ids(&found(&mut questions, &header, 10).await), both);
    let part: String = body.chars().take(20).collect();
    assert!(ids(&found(&mut questions, &part, 10).await).contains(&first));
    assert_eq!(ids(&found(&mut questions, &first, 10).await), [first]);
    let none = found(&mut questions, "nobody ever sent this", 10).await;
    assert!(none.models.is_empty());
    assert_eq!(none.pagination.expect("a page").next, "", "all was read");
    let one = found(&mut questions, &header, 1).await;
    assert_eq!(ids(&one), std::slice::from_ref(&newest));
    assert_eq!(one.pagination.expect("a page").next, newest);
}
