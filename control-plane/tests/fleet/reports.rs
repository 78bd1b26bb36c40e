//! Reports: counted once, summed over a window, shown in the status.

use std::time::Duration;

use hookplane_proto::agent::v1::{
    DestinationReport, DestinationState, Gauges, Histogram, ReportStreamRequest,
    ReportStreamResponse, SecretReport, SourceReport,
};
use hookplane_proto::v1;
use prost_types::Timestamp;
use tokio::sync::mpsc;
use tonic::{Code, Streaming};

use crate::agent::{Holding, TestAgent};
use crate::plane::{Plane, within};

type Reports = (
    mpsc::Sender<ReportStreamRequest>,
    Streaming<ReportStreamResponse>,
);

/// Each value in the bucket it belongs to, at scale 3.
fn histogram(values: &[f64]) -> Histogram {
    let index = |value: &f64| (value.log2() * 8.0).ceil() as i32 - 1;
    let offset = values.iter().map(index).min().expect("values");
    let last = values.iter().map(index).max().expect("values");
    let mut counts = vec![0; usize::try_from(last - offset + 1).expect("a span")];
    for value in values {
        counts[usize::try_from(index(value) - offset).expect("in the span")] += 1;
    }
    Histogram {
        scale: 3,
        offset,
        counts,
        zero_count: 0,
        count: values.len() as u64,
        sum: values.iter().sum(),
        max: values.iter().copied().fold(0.0, f64::max),
    }
}

fn report(plane: &Plane, sequence: u64, source: &str, values: &[f64]) -> ReportStreamRequest {
    let count = values.len() as u64;
    let millis = hookplane_control_plane::clock::Clock::now_millis(&*plane.clock);
    ReportStreamRequest {
        sequence,
        minute: Some(Timestamp {
            seconds: millis / 60_000 * 60,
            nanos: 0,
        }),
        sources: vec![SourceReport {
            team_id: plane.team.clone(),
            source_id: source.to_owned(),
            event_type: "user.created".to_owned(),
            received: count,
            accepted: count,
            accept_latency: Some(histogram(values)),
            ..SourceReport::default()
        }],
        destinations: vec![DestinationReport {
            team_id: plane.team.clone(),
            destination_id: "des_1".to_owned(),
            attempts: count,
            successful: count,
            delivery_latency: Some(histogram(values)),
            ..DestinationReport::default()
        }],
        gauges: Some(Gauges {
            scheduled: 1,
            queued: 2,
            hold: 3,
            ..Gauges::default()
        }),
        secrets: vec![SecretReport {
            team_id: plane.team.clone(),
            source_id: source.to_owned(),
            version: 1,
            verified: count,
        }],
    }
}

async fn send(reports: &mut Reports, report: ReportStreamRequest) -> u64 {
    reports.0.send(report).await.expect("an open stream");
    let answer = within("an acknowledgement", reports.1.message()).await;
    answer
        .expect("an open stream")
        .expect("an answer")
        .acknowledged
}

async fn status(plane: &Plane, window_minutes: u32) -> v1::Status {
    let asked = v1::GetStatusRequest { window_minutes };
    plane
        .fleet_api()
        .get_status(asked)
        .await
        .expect("a status")
        .into_inner()
}

#[tokio::test]
async fn a_report_is_counted_once_however_often_it_comes() {
    let plane = Plane::start().await;
    let agent = TestAgent::enrolled(&plane, "edge-1", "default").await;
    let mut reports = agent.reports().await;
    for sequence in [1, 1, 2, 1, 2] {
        let acknowledged = send(&mut reports, report(&plane, sequence, "src_1", &[5.0])).await;
        assert_eq!(acknowledged, sequence, "a repeat is acknowledged too");
    }
    drop(reports);
    let plane = plane.restart().await;
    let mut reports = agent.dialling(&plane).reports().await;
    send(&mut reports, report(&plane, 2, "src_1", &[5.0])).await;
    let acknowledged = send(&mut reports, report(&plane, 9, "src_1", &[5.0])).await;
    assert_eq!(acknowledged, 9, "a gap is accepted");
    let throughput = status(&plane, 5).await.throughput.expect("numbers");
    let seen = (
        throughput.received,
        throughput.accepted,
        throughput.successful,
    );
    assert_eq!(seen, (3, 3, 3), "{throughput:?}");
}

#[tokio::test]
async fn what_each_secret_verified_is_summed_over_agents_and_counted_once() {
    let plane = Plane::start().await;
    let source = plane.source("clerk", "default").await;
    for name in ["edge-1", "edge-2"] {
        let agent = TestAgent::enrolled(&plane, name, "default").await;
        let mut reports = agent.reports().await;
        for sequence in [1, 1, 2] {
            send(&mut reports, report(&plane, sequence, &source.id, &[5.0])).await;
        }
    }
    let uses = plane.config.secret_uses(&plane.team, &source.id).await;
    let uses = uses.expect("they can be read");
    let seen: Vec<_> = uses.iter().map(|one| (one.version, one.verified)).collect();
    assert_eq!(seen, [(1, 4)]);
    let foreign = plane.config.secret_uses("tm_other", &source.id).await;
    assert_eq!(foreign.expect("they can be read"), []);
}

#[tokio::test]
async fn percentiles_come_from_the_histograms_of_all_agents() {
    let plane = Plane::start().await;
    let source = plane.source("clerk", "default").await;
    let fast: Vec<f64> = (1..=900).map(f64::from).collect();
    let slow: Vec<f64> = (0..100).map(|number| 1e6 + f64::from(number)).collect();
    for (name, values) in [("edge-1", &fast), ("edge-2", &slow)] {
        let agent = TestAgent::enrolled(&plane, name, "default").await;
        let mut reports = agent.reports().await;
        send(&mut reports, report(&plane, 1, &source.id, values)).await;
    }
    let status = status(&plane, 5).await;
    let [row] = status.by_source.as_slice() else {
        panic!("one source and type: {:?}", status.by_source);
    };
    assert_eq!((row.source_name.as_str(), row.received), ("clerk", 1_000));
    assert_eq!(row.event_type, "user.created");
    assert!(
        (0.4..0.6).contains(&row.accept_p50_ms),
        "p50 {}",
        row.accept_p50_ms
    );
    assert!(
        (900.0..1_100.0).contains(&row.accept_p99_ms),
        "p99 {}",
        row.accept_p99_ms
    );
    let [row] = status.by_destination.as_slice() else {
        panic!("one destination: {:?}", status.by_destination);
    };
    assert_eq!(
        (row.attempts, row.successful, row.failed),
        (1_000, 1_000, 0)
    );
    assert!(
        (0.4..0.6).contains(&row.delivery_p50_ms),
        "p50 {}",
        row.delivery_p50_ms
    );
}

#[tokio::test]
async fn a_destination_that_is_held_back_is_shown_with_its_agent_until_it_is_not() {
    let plane = Plane::start().await;
    let agent = TestAgent::enrolled(&plane, "edge-1", "default").await;
    let mut reports = agent.reports().await;
    let at = Timestamp {
        seconds: 1_700_000_000,
        nanos: 0,
    };
    let state = |team: &str, id: &str, circuit: v1::CircuitState| DestinationState {
        team_id: team.to_owned(),
        destination_id: id.to_owned(),
        circuit: circuit.into(),
        open_since: Some(at),
        next_probe_at: Some(at),
        concurrency_limit: 3,
        ..DestinationState::default()
    };
    let mut first = report(&plane, 1, "src_1", &[5.0]);
    first.destinations[0].start_delay = Some(histogram(&[2_000.0]));
    first.destinations[0].delivered_after = Some(histogram(&[4_000.0]));
    let busy = first.destinations[0].destination_id.clone();
    first.gauges.get_or_insert_default().destinations = vec![
        state(&plane.team, "des_quiet", v1::CircuitState::Open),
        state(&plane.team, &busy, v1::CircuitState::Closed),
        state("tm_other", "des_theirs", v1::CircuitState::Open),
    ];
    send(&mut reports, first).await;
    let shown = status(&plane, 5).await.by_destination;
    let ids: Vec<&str> = shown
        .iter()
        .map(|row| row.destination_id.as_str())
        .collect();
    assert_eq!(
        ids,
        [&busy, "des_quiet"],
        "attempted or held back, and ours"
    );
    assert!(
        (1.8..2.2).contains(&shown[0].start_delay_p50_ms),
        "{shown:?}"
    );
    assert!(
        (3.6..4.4).contains(&shown[0].delivered_after_p99_ms),
        "{shown:?}"
    );
    let [quiet] = shown[1].agents.as_slice() else {
        panic!("one agent told of it: {shown:?}")
    };
    assert_eq!(
        (quiet.agent_name.as_str(), quiet.circuit()),
        ("edge-1", v1::CircuitState::Open)
    );
    assert_eq!((quiet.open_since, quiet.concurrency_limit), (Some(at), 3));

    let mut second = report(&plane, 2, "src_1", &[5.0]);
    second.gauges.get_or_insert_default().destinations = Vec::new();
    send(&mut reports, second).await;
    let shown = status(&plane, 5).await.by_destination;
    assert!(shown.len() == 1 && shown[0].agents.is_empty(), "{shown:?}");
}

#[tokio::test]
async fn a_window_ends_and_old_minutes_are_dropped() {
    let plane = Plane::start().await;
    let agent = TestAgent::enrolled(&plane, "edge-1", "default").await;
    let mut reports = agent.reports().await;
    send(&mut reports, report(&plane, 1, "src_1", &[5.0, 6.0])).await;
    plane.clock.advance(Duration::from_secs(10 * 60));
    send(&mut reports, report(&plane, 2, "src_1", &[5.0])).await;
    let received = async |window| {
        let status = status(&plane, window).await;
        status.throughput.expect("numbers").received
    };
    assert_eq!(received(5).await, 1);
    assert_eq!(received(60).await, 3);
    plane
        .clock
        .advance(Duration::from_secs(7 * 86_400 - 5 * 60));
    let now = hookplane_control_plane::clock::Clock::now_millis(&*plane.clock);
    let store = plane.fleet.report_store();
    while store.prune(now).await.expect("pruned") {}
    let left = store.totals(&plane.team, 0).await.expect("sums");
    assert_eq!(
        left.received, 1,
        "only what is older than seven days is dropped"
    );
    for window in [0, 1_441] {
        let asked = v1::GetStatusRequest {
            window_minutes: window,
        };
        let answer = plane.fleet_api().get_status(asked).await;
        let code = answer.map_or_else(|refused| refused.code(), |_| Code::Ok);
        assert_eq!(
            code == Code::InvalidArgument,
            window != 0,
            "{window}: {code}"
        );
    }
}

#[tokio::test]
async fn numbers_of_another_team_and_of_a_fast_clock_stay_in_their_place() {
    let plane = Plane::start().await;
    let agent = TestAgent::enrolled(&plane, "edge-1", "default").await;
    let mut reports = agent.reports().await;
    let mut foreign = report(&plane, 1, "src_theirs", &[5.0]);
    foreign.sources[0].team_id = "tm_other".to_owned();
    send(&mut reports, foreign).await;
    let mut ahead = report(&plane, 2, "src_1", &[5.0]);
    ahead.minute = Some(Timestamp {
        seconds: i64::MAX,
        nanos: 0,
    });
    ahead.sources[0].accept_latency = Some(Histogram {
        scale: 127,
        ..Histogram::default()
    });
    send(&mut reports, ahead).await;
    let seen = status(&plane, 5)
        .await
        .throughput
        .expect("numbers")
        .received;
    assert_eq!(seen, 1);
    plane.clock.advance(Duration::from_secs(3_600));
    let later = status(&plane, 5)
        .await
        .throughput
        .expect("numbers")
        .received;
    assert_eq!(later, 0, "a fast clock does not stretch the window");
}

#[tokio::test]
async fn the_status_tells_agents_resources_and_backlog() {
    let plane = Plane::start().await;
    let source = plane.source("clerk", "default").await;
    plane.connect(&source, "billing").await;
    let one = TestAgent::enrolled(&plane, "edge-1", "default").await;
    let two = TestAgent::enrolled(&plane, "edge-2", "default").await;
    let mut talk = one.configuration(Holding::default()).await;
    talk.apply().await;
    plane
        .shows(&one.id, "acknowledged", |agent| agent.revision > 0)
        .await;
    for agent in [&one, &two] {
        let mut reports = agent.reports().await;
        send(&mut reports, report(&plane, 1, &source.id, &[5.0])).await;
    }
    let status = status(&plane, 0).await;
    let counts = (status.sources, status.connections, status.destinations);
    assert_eq!(counts, (1, 1, 1));
    assert_eq!(status.throughput.expect("numbers").window_minutes, 5);
    assert_eq!(status.backlog, 6, "of connected agents only");
    let names: Vec<_> = status
        .agents
        .iter()
        .map(|agent| agent.name.as_str())
        .collect();
    assert_eq!(names, ["edge-1", "edge-2"]);
    assert_eq!(status.agents[0].config_state(), v1::ConfigState::Current);
    assert_eq!(status.agents[1].config_state(), v1::ConfigState::Pending);
    let gauges = plane.fleet.gauges();
    assert_eq!(gauges.agents_connected, 1);
    assert_eq!(gauges.acknowledged_revision_min, Some(status.revision));
    let asked = v1::ListAgentsRequest {
        limit: 1,
        ..v1::ListAgentsRequest::default()
    };
    let page = plane.fleet_api().list_agents(asked.clone()).await;
    let page = page.expect("a page").into_inner();
    assert_eq!(page.models[0].name, "edge-1");
    let asked = v1::ListAgentsRequest {
        page_token: page.pagination.expect("a cursor").next,
        ..asked
    };
    let page = plane.fleet_api().list_agents(asked).await;
    assert_eq!(page.expect("a page").into_inner().models[0].name, two.name);
}

#[tokio::test]
async fn a_pool_with_a_source_and_without_an_agent_is_told() {
    let plane = Plane::start().await;
    plane.source("clerk", "default").await;
    plane.source("stripe", "paris").await;
    assert_eq!(status(&plane, 0).await.unserved_pools, ["default", "paris"]);
    let _agent = TestAgent::enrolled(&plane, "edge-1", "default").await;
    assert_eq!(status(&plane, 0).await.unserved_pools, ["paris"]);
    let _other = TestAgent::enrolled(&plane, "edge-2", "paris").await;
    let served = status(&plane, 0).await.unserved_pools;
    assert!(served.is_empty(), "{served:?}");
}
