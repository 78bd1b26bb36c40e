//! Readiness, metrics, one process per folder, and the order of a shutdown.

use std::sync::Arc;
use std::time::Duration;

use hookplane_agent::agent::{Agent, StartError};
use hookplane_agent::clock::SystemClock;

use crate::control_plane::{ControlPlane, Conversation, Known, Verdict};
use crate::receiver::{HANG, Receiver};
use crate::world::*;

/// An agent with one source to a receiver, and its open configuration stream.
async fn working(
    place: &Place,
    control_plane: &mut ControlPlane,
    receiver: &Receiver,
) -> (Running, Conversation) {
    let agent = place.run(control_plane).await;
    let mut conversation = control_plane.configuration().await;
    let resources = vec![
        destination("des_1", 1, &receiver.url),
        source("src_1", 1, &["des_1"]),
    ];
    let verdict = conversation
        .snapshot(held("e", 1, &resources), resources)
        .await;
    assert!(matches!(verdict, Verdict::Ack(_)), "{verdict:?}");
    (agent, conversation)
}

#[tokio::test]
async fn readiness_names_what_is_missing_and_health_does_not_care() {
    let place = Place::new();
    let settings = place.settings("http://127.0.0.1:9");
    let agent = Running::start(settings).await;
    // Before its first try it says only that it is not enrolled.
    let unreachable = |told: &_| reasons(told).contains(&"control_plane_unreachable");
    let told = agent.readiness(unreachable).await;
    assert_eq!(
        reasons(&told),
        ["control_plane_unreachable", "no_configuration"]
    );
    assert_eq!(agent.admin_page("/readyz").await.0, 503);
    assert_eq!(agent.admin_page("/healthz").await.0, 200);
    agent.stop().await;
}

#[tokio::test]
async fn metrics_are_open_metrics_and_count_what_happened() {
    let (place, known) = (Place::new(), Known::default());
    let mut control_plane = ControlPlane::start(&known, TOKEN).await;
    let receiver = Receiver::start(200).await;
    let (agent, _conversation) = working(&place, &mut control_plane, &receiver).await;
    agent.accepted("src_1").await;
    assert_eq!(agent.post("src_1/%20", "{}").await.0, 200);
    assert_eq!(agent.post("src_unknown", "{}").await.0, 404);
    until("the deliveries", || receiver.got().len() == 2).await;
    let wanted = [
        "hookplane_agent_requests_total{source=\"src_1\",outcome=\"accepted\",cause=\"\"} 2",
        "hookplane_agent_attempts_total{destination=\"des_1\",outcome=\"successful\"} 2",
        "hookplane_agent_turned_away_total{code=\"SOURCE_NOT_FOUND\"} 1",
        "hookplane_agent_accept_seconds_count{source=\"src_1\"} 2",
        "hookplane_agent_backlog{status=\"queued\"} 0",
        "hookplane_agent_books_imbalance 0",
        "hookplane_agent_configuration_revision 1",
        "hookplane_agent_control_plane_connected 1",
        "hookplane_agent_ready 1",
    ];
    let mut missing = wanted.to_vec();
    let mut text = String::new();
    for _ in 0..200 {
        text = agent.admin_page("/metrics").await.1;
        missing.retain(|line| !text.lines().any(|found| found == *line));
        if missing.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    assert!(missing.is_empty(), "{missing:#?} are missing in\n{text}");
    assert!(text.ends_with("# EOF\n"));
    agent.stop().await;
}

#[tokio::test]
async fn a_second_process_on_the_same_folder_is_refused() {
    let place = Place::new();
    let settings = place.settings("http://127.0.0.1:9");
    let agent = Running::start(settings.clone()).await;
    let second = Box::pin(Agent::start(settings.clone(), Arc::new(SystemClock))).await;
    assert!(matches!(second, Err(StartError::DataDirInUse { .. })));
    let runtime = place.data_dir().join("runtime.json");
    let told = std::fs::read_to_string(&runtime).unwrap();
    assert!(told.contains(&agent.ingest.to_string()), "{told}");
    agent.stop().await;
    assert!(!runtime.exists(), "runtime.json stays after a clean exit");
    Running::start(settings).await.stop().await;
}

#[tokio::test]
async fn a_store_of_an_earlier_version_is_not_forgotten_in_silence() {
    let place = Place::new();
    std::fs::create_dir_all(place.data_dir()).unwrap();
    std::fs::write(place.data_dir().join("store.db"), "").unwrap();
    let settings = place.settings("http://127.0.0.1:9");
    let started = Box::pin(Agent::start(settings, Arc::new(SystemClock))).await;
    assert!(matches!(started, Err(StartError::EarlierStore { .. })));
}

#[tokio::test]
async fn a_drain_ends_the_delivery_in_hand_and_takes_nothing_new() {
    let (place, known) = (Place::new(), Known::default());
    let mut control_plane = ControlPlane::start(&known, TOKEN).await;
    let receiver = Receiver::start(HANG).await;
    let (agent, _conversation) = working(&place, &mut control_plane, &receiver).await;
    agent.accepted("src_1").await;
    until("the delivery begins", || receiver.got().len() == 1).await;
    agent.ask_to_stop();
    let told = agent.readiness(|told| told["ready"] == false).await;
    assert_eq!(reasons(&told), ["stopping"]);
    let ingest = agent.ingest;
    for _ in 0..400 {
        if tokio::net::TcpStream::connect(ingest).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(
        tokio::net::TcpStream::connect(ingest).await.is_err(),
        "still listening"
    );
    receiver.go_on();
    agent.stopped().await;

    // Written before the store closed: the event is not sent again.
    receiver.answers(200);
    let agent = place.run(&control_plane).await;
    agent.accepted("src_1").await;
    until("the second delivery", || receiver.got().len() >= 2).await;
    let got = receiver.got();
    assert_ne!(got[0].request_id, got[1].request_id, "sent twice");
    agent.stop().await;
}
