//! Snapshots, deltas, refusals, and the last good configuration on disk.

use hookplane_proto::agent::v1::command_stream_request::Result as Answer;
use hookplane_proto::agent::v1::command_stream_response::Command;
use hookplane_proto::agent::v1::configuration_stream_response::Message as Tell;
use hookplane_proto::agent::v1::{ControlHeartbeat, Current, Held};
use hookplane_proto::v1;

use crate::control_plane::{ControlPlane, Conversation, Known, Verdict};
use crate::receiver::{HANG, Receiver};
use crate::world::*;

async fn together() -> (Place, Known, ControlPlane) {
    let known = Known::default();
    let control_plane = ControlPlane::start(&known, TOKEN).await;
    (Place::new(), known, control_plane)
}

fn acknowledged(verdict: Verdict) -> Held {
    match verdict {
        Verdict::Ack(ack) => ack.held.unwrap(),
        Verdict::Nack(nack) => panic!("refused: {:?}", nack.refused),
    }
}

/// One open source to one destination, as revision 1.
async fn first_snapshot(conversation: &mut Conversation, url: &str) -> Held {
    let resources = vec![destination("des_1", 1, url), source("src_1", 1, &["des_1"])];
    let held = held("e", 1, &resources);
    acknowledged(conversation.snapshot(held, resources).await)
}

#[tokio::test]
async fn a_snapshot_makes_the_source_work_and_is_acknowledged_with_its_digest() {
    let (place, _known, mut control_plane) = together().await;
    let receiver = Receiver::start(200).await;
    let agent = place.run(&control_plane).await;
    let mut conversation = control_plane.configuration().await;
    assert_eq!(conversation.hello.held, None, "a new agent holds nothing");
    let (status, told) = agent.post("src_1", "{}").await;
    assert_eq!(
        (status, told["code"].as_str()),
        (503, Some("AGENT_NOT_READY"))
    );

    let resources = vec![
        destination("des_1", 1, &receiver.url),
        source("src_1", 1, &["des_1"]),
    ];
    let theirs = held("e", 1, &resources);
    let ours = acknowledged(conversation.snapshot(theirs.clone(), resources).await);
    assert_eq!(ours, theirs);
    agent.accepted("src_1").await;
    until("the delivery", || receiver.got().len() == 1).await;
    assert_eq!(agent.post("src_unknown", "{}").await.0, 404);
    agent.stop().await;
}

#[tokio::test]
async fn a_snapshot_in_chunks_applies_only_when_its_last_chunk_is_there() {
    let (place, _known, mut control_plane) = together().await;
    let agent = place.run(&control_plane).await;
    let mut conversation = control_plane.configuration().await;
    let first = vec![source("src_1", 1, &["des_1"])];
    let second = vec![destination("des_1", 1, "http://127.0.0.1:9/")];
    let theirs = held("e", 1, &[first.clone(), second.clone()].concat());
    let chunk = conversation.chunk(theirs.clone(), 0, false, first);
    conversation.tell(chunk).await;
    conversation.heartbeat().await;
    assert_eq!(agent.post("src_1", "{}").await.0, 503);
    let chunk = conversation.chunk(theirs.clone(), 1, true, second);
    conversation.tell(chunk).await;
    assert_eq!(acknowledged(conversation.verdict().await), theirs);
    agent.accepted("src_1").await;
    agent.stop().await;
}

#[tokio::test]
async fn deltas_add_and_remove_and_the_next_hello_tells_what_is_held() {
    let (place, _known, mut control_plane) = together().await;
    let agent = place.run(&control_plane).await;
    let mut conversation = control_plane.configuration().await;
    let url = "http://127.0.0.1:9/";
    first_snapshot(&mut conversation, url).await;

    let all = [
        destination("des_1", 1, url),
        source("src_1", 1, &["des_1"]),
        source("src_2", 2, &["des_1"]),
    ];
    let added = vec![all[2].clone()];
    let verdict = conversation
        .delta(1, held("e", 2, &all), added, Vec::new())
        .await;
    assert_eq!(acknowledged(verdict), held("e", 2, &all));
    agent.accepted("src_2").await;

    let left = [all[0].clone(), all[2].clone()];
    let removed = vec![source_key("src_1")];
    let verdict = conversation
        .delta(2, held("e", 3, &left), Vec::new(), removed)
        .await;
    acknowledged(verdict);
    agent.eventually("src_1", 404).await;
    agent.accepted("src_2").await;

    drop(conversation);
    let conversation = control_plane.configuration().await;
    assert_eq!(conversation.hello.held, Some(held("e", 3, &left)));
    let current = Current {
        held: conversation.hello.held.clone(),
    };
    conversation.tell(Tell::Current(current)).await;
    agent
        .readiness(|told| told["control_plane"]["connected"] == true)
        .await;
    agent.stop().await;
}

#[tokio::test]
async fn a_refused_resource_is_named_and_the_rest_applies() {
    let (place, _known, mut control_plane) = together().await;
    let agent = place.run(&control_plane).await;
    let mut conversation = control_plane.configuration().await;
    let url = "http://127.0.0.1:9/";
    let resources = vec![
        destination("des_1", 1, url),
        source("src_good", 1, &["des_1"]),
        clerk("src_bad", 1, "sk_live_not_a_signing_secret", "des_1"),
        source("src_lost", 1, &["des_missing"]),
    ];
    let verdict = conversation
        .snapshot(held("e", 1, &resources), resources.clone())
        .await;
    let Verdict::Nack(nack) = verdict else {
        panic!("acknowledged");
    };
    let named: Vec<_> = nack
        .refused
        .iter()
        .map(|refusal| {
            (
                refusal.key.clone().unwrap().id,
                refusal.reason.as_str(),
                refusal.version,
            )
        })
        .collect();
    assert_eq!(
        named,
        [
            ("src_bad".to_owned(), "secret_prefix", 1),
            ("src_lost".to_owned(), "destination_missing", 1),
        ]
    );
    assert_eq!(nack.held.unwrap(), held("e", 1, &resources[..2]));
    agent.accepted("src_good").await;
    assert_eq!(agent.post("src_bad", "{}").await.0, 404);

    // What was missing comes without the source being sent again.
    let missing = destination("des_missing", 2, url);
    let mut now = resources.clone();
    now.push(missing.clone());
    let verdict = conversation
        .delta(1, held("e", 2, &now), vec![missing], Vec::new())
        .await;
    let Verdict::Nack(nack) = verdict else {
        panic!("src_bad is forgotten");
    };
    assert_eq!(nack.refused.len(), 1, "{:?}", nack.refused);
    agent.accepted("src_lost").await;
    let told = agent
        .readiness(|told| told["configuration"]["refused"] == 1)
        .await;
    assert_eq!(told["ready"], true);
    agent.stop().await;
}

#[tokio::test]
async fn a_refused_change_keeps_the_state_before_it() {
    let (place, _known, mut control_plane) = together().await;
    let agent = place.run(&control_plane).await;
    let mut conversation = control_plane.configuration().await;
    let url = "http://127.0.0.1:9/";
    first_snapshot(&mut conversation, url).await;
    let broken = clerk("src_1", 2, "whsec_%%%", "des_1");
    let all = [destination("des_1", 1, url), broken.clone()];
    let verdict = conversation
        .delta(1, held("e", 2, &all), vec![broken], Vec::new())
        .await;
    assert!(matches!(verdict, Verdict::Nack(_)), "{verdict:?}");
    agent.accepted("src_1").await;
    agent.stop().await;
}

#[tokio::test]
async fn a_delta_that_does_not_fit_makes_the_agent_ask_for_everything() {
    let (place, _known, mut control_plane) = together().await;
    let agent = place.run(&control_plane).await;
    let mut conversation = control_plane.configuration().await;
    let url = "http://127.0.0.1:9/";
    first_snapshot(&mut conversation, url).await;

    // Builds on a revision that the agent never had.
    let message = conversation.delta_message(7, held("e", 8, &[]), Vec::new(), Vec::new());
    conversation.tell(message).await;
    let mut conversation = control_plane.configuration().await;
    assert_eq!(conversation.hello.held, None);
    first_snapshot(&mut conversation, url).await;

    // Leaves something out, as the digest shows.
    let theirs = held("e", 2, &[source("src_other", 2, &[])]);
    let message = conversation.delta_message(1, theirs, Vec::new(), Vec::new());
    conversation.tell(message).await;
    let conversation = control_plane.configuration().await;
    assert_eq!(conversation.hello.held, None);
    agent.accepted("src_1").await;
    agent.stop().await;
}

#[tokio::test]
async fn an_older_snapshot_never_replaces_a_newer_one_but_a_new_epoch_does() {
    let (place, _known, mut control_plane) = together().await;
    let agent = place.run(&control_plane).await;
    let mut conversation = control_plane.configuration().await;
    let url = "http://127.0.0.1:9/";
    let newer = vec![
        destination("des_1", 4, url),
        source("src_new", 5, &["des_1"]),
    ];
    acknowledged(
        conversation
            .snapshot(held("e", 5, &newer), newer.clone())
            .await,
    );

    let older = vec![source("src_old", 1, &[])];
    let message = conversation.chunk(held("e", 4, &older), 0, true, older.clone());
    conversation.tell(message).await;
    let mut conversation = control_plane.configuration().await;
    assert_eq!(conversation.hello.held, Some(held("e", 5, &newer)));
    agent.accepted("src_new").await;
    assert_eq!(agent.post("src_old", "{}").await.0, 404);

    // The control plane was rebuilt: its Current means something else.
    let current = Current {
        held: Some(held("rebuilt", 5, &newer)),
    };
    conversation.tell(Tell::Current(current)).await;
    conversation = control_plane.configuration().await;
    assert_eq!(
        conversation.hello.held, None,
        "an epoch change forces a snapshot"
    );
    acknowledged(
        conversation
            .snapshot(held("rebuilt", 1, &older), older)
            .await,
    );
    agent.accepted("src_old").await;
    agent.stop().await;
}

#[tokio::test]
async fn without_the_control_plane_a_restarted_agent_accepts_and_delivers_from_disk() {
    let (place, _known, mut control_plane) = together().await;
    let receiver = Receiver::start(200).await;
    let agent = place.run(&control_plane).await;
    let mut conversation = control_plane.configuration().await;
    first_snapshot(&mut conversation, &receiver.url).await;
    let url = control_plane.url();
    control_plane.crash();
    agent.accepted("src_1").await;
    agent.stop().await;

    let agent = Running::start(place.settings(&url)).await;
    agent.accepted("src_1").await;
    until("both deliveries", || receiver.got().len() == 2).await;
    let told = agent.readiness(|told| told["ready"] == true).await;
    assert_eq!(told["configuration"]["origin"], "disk");
    assert_eq!(told["control_plane"]["connected"], false);
    agent.stop().await;
}

#[tokio::test]
async fn a_broken_copy_on_disk_falls_back_to_the_one_before() {
    let (place, _known, mut control_plane) = together().await;
    let agent = place.run(&control_plane).await;
    let mut conversation = control_plane.configuration().await;
    let url = "http://127.0.0.1:9/";
    first_snapshot(&mut conversation, url).await;
    let all = [
        destination("des_1", 1, url),
        source("src_1", 1, &["des_1"]),
        source("src_2", 2, &["des_1"]),
    ];
    let added = vec![all[2].clone()];
    acknowledged(
        conversation
            .delta(1, held("e", 2, &all), added, Vec::new())
            .await,
    );
    let address = control_plane.url();
    control_plane.crash();
    agent.stop().await;

    flip_last_byte(&place.data_dir().join("configuration.sealed"));
    let agent = Running::start(place.settings(&address)).await;
    agent.accepted("src_1").await;
    assert_eq!(agent.post("src_2", "{}").await.0, 404);
    let told = agent.readiness(|told| told["ready"] == true).await;
    assert_eq!(told["warnings"][0]["code"], "disk_copy_broken");
    assert_eq!(told["configuration"]["revision"], 1);
    agent.stop().await;
}

#[tokio::test]
async fn the_copy_on_disk_shows_no_secret() {
    let (place, _known, mut control_plane) = together().await;
    let agent = place.run(&control_plane).await;
    let mut conversation = control_plane.configuration().await;
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let resources = vec![
        destination("des_1", 1, "http://127.0.0.1:9/"),
        clerk("src_clerk", 1, secret, "des_1"),
    ];
    acknowledged(
        conversation
            .snapshot(held("e", 1, &resources), resources)
            .await,
    );
    agent.stop().await;
    let sealed = std::fs::read(place.data_dir().join("configuration.sealed")).unwrap();
    let shown = |text: &str| {
        sealed
            .windows(text.len())
            .any(|part| part == text.as_bytes())
    };
    assert!(
        !shown(secret) && !shown("src_clerk"),
        "the copy is readable"
    );
}

#[tokio::test]
async fn heartbeats_go_both_ways_and_silence_ends_the_stream() {
    let (place, _known, mut control_plane) = together().await;
    let mut settings = place.settings(&control_plane.url());
    settings.pace.dead_after = std::time::Duration::from_millis(400);
    let agent = Running::start(settings).await;
    let mut conversation = control_plane.configuration().await;
    let ours = first_snapshot(&mut conversation, "http://127.0.0.1:9/").await;
    for _ in 0..8 {
        assert_eq!(conversation.heartbeat().await.held, Some(ours.clone()));
        let heartbeat = ControlHeartbeat {
            revision: 1,
            at: None,
        };
        conversation.tell(Tell::Heartbeat(heartbeat)).await;
    }
    // Nothing more is told: the agent dials again.
    let again = control_plane.configuration().await;
    assert_eq!(again.hello.held, Some(ours));
    agent.stop().await;
}

#[tokio::test]
async fn pending_events_of_a_refused_source_are_not_taken_for_deleted() {
    let (place, _known, mut control_plane) = together().await;
    // The receiver hangs, so the event is still due when the agent has gone.
    let receiver = Receiver::start(HANG).await;
    let mut settings = place.settings(&control_plane.url());
    settings.drain = std::time::Duration::from_millis(300);
    let agent = Running::start(settings).await;
    let mut conversation = control_plane.configuration().await;
    let _questions = control_plane.commands().await;
    first_snapshot(&mut conversation, &receiver.url).await;
    let id = agent.accepted("src_1").await;
    until("the first try", || receiver.got().len() == 1).await;
    agent.stop().await;
    // Both copies are lost, and what comes now cannot be applied.
    for name in ["configuration.sealed", "configuration.previous"] {
        std::fs::remove_file(place.data_dir().join(name)).ok();
    }
    let agent = place.run(&control_plane).await;
    let mut conversation = control_plane.configuration().await;
    let url = &receiver.url;
    let broken = clerk("src_1", 2, "whsec_%%%", "des_1");
    let resources = vec![destination("des_1", 1, url), broken];
    let verdict = conversation
        .snapshot(held("e", 2, &resources), resources)
        .await;
    assert!(matches!(verdict, Verdict::Nack(_)), "{verdict:?}");
    let mut questions = control_plane.commands().await;
    let trace = Command::GetRequestTrace(v1::GetRequestTraceRequest { id });
    // The scheduler looks every second; an event that should wait waits over its looks.
    for _ in 0..30 {
        let Answer::GetRequestTrace(told) = questions.ask(TEAM, trace.clone()).await else {
            panic!("not found");
        };
        let event = told.events[0].event.clone().unwrap();
        assert_eq!(event.status(), v1::EventStatus::Queued, "{event:?}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    agent.stop().await;
}
