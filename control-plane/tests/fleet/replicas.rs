//! Two control planes on one PostgreSQL serve one fleet, and either may go.

use std::time::Duration;

use hookplane_control_plane::fleet::{Pace, Timings};
use hookplane_proto::agent::v1::command_stream_response::Command;
use hookplane_proto::replica::v1::AskRequest;
use hookplane_proto::replica::v1::relay_service_client::RelayServiceClient;
use hookplane_proto::v1::{self, AgentState};
use sea_orm::ConnectionTrait as _;
use tokio::runtime::Runtime;
use tonic::Code;

use crate::agent::{Got, Holding, TestAgent};
use crate::evidence::Holder;
use crate::plane::{Bearer, Plane, within};
use crate::{postgres, tail};

const PACE: Pace = Pace {
    beat: Duration::from_millis(100),
    dead_after: Duration::from_secs(2),
};

/// Nothing is looked for within a test: what crosses, crosses by a notice.
fn by_notice() -> Timings {
    Timings {
        refresh: Duration::from_secs(3_600),
        replicas: PACE,
        ..Timings::default()
    }
}

async fn pair(timings: Timings) -> Option<(Plane, Plane)> {
    let url = tokio::task::spawn_blocking(postgres::database).await;
    let url = url.expect("the test's PostgreSQL starts")?;
    let one = Plane::on(&url, timings).await;
    let two = one.beside().await;
    for plane in [&one, &two] {
        within("they know each other", async {
            while plane.fleet.gauges().replicas < 2 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }
    Some((one, two))
}

#[tokio::test]
async fn a_change_crosses_to_the_agents_of_the_other_replica_by_notice() {
    let Some((one, two)) = pair(by_notice()).await else {
        return;
    };
    let agent = TestAgent::enrolled(&one, "edge-1", "default").await;
    let agent = agent.dialling(&two);
    let mut talk = agent.configuration(Holding::default()).await;
    talk.apply().await;
    for number in 0..3 {
        let source = one.source(&format!("source {number}"), "default").await;
        assert_eq!(talk.apply().await, Got::Delta(vec![source.id], Vec::new()));
    }
    for plane in [&one, &two] {
        let shown = plane
            .shows(&agent.id, "both know", |agent| agent.revision == 3)
            .await;
        assert_eq!(shown.state(), AgentState::Connected, "wherever one asks");
    }
}

#[tokio::test]
async fn questions_and_tails_reach_agents_that_are_with_the_other_replica() {
    let Some((one, two)) = pair(by_notice()).await else {
        return;
    };
    let here = Holder::of(&one, "edge-1", &[1]).await;
    let there = Holder::of(&two, "edge-2", &[2, 3]).await;
    within("both are known to both", async {
        for plane in [&one, &two] {
            for id in [&here.agent.id, &there.agent.id] {
                plane
                    .shows(id, "connected", |agent| {
                        agent.state() == AgentState::Connected
                    })
                    .await;
            }
        }
    })
    .await;
    for plane in [&one, &two] {
        let whole = within("all answer", async {
            loop {
                let asked = v1::ListEventsRequest::default();
                let answer = plane.events().list_events(asked).await;
                let answer = answer.expect("a list").into_inner();
                if !answer.partial {
                    return answer;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        assert_eq!(whole.models.len(), 3);
    }
    let mut tail = tail::open(&one).await;
    let is_tail = |command: &Command| matches!(command, Command::TailRequests(_));
    let (number, _) = there.witness.heard("the tail", is_tail).await;
    there.witness.say(number, tail::stored("req_other")).await;
    assert_eq!(tail::next_id(&mut tail).await, "req_other");
}

#[tokio::test]
async fn only_a_replica_can_ask_through_a_replica() {
    let plane = Plane::start().await;
    for bearer in ["", plane.api_key.as_str()] {
        let bearer = Bearer(bearer.to_owned());
        let mut relay = RelayServiceClient::with_interceptor(plane.channel(), bearer);
        let refused = relay.ask(AskRequest::default()).await;
        assert_eq!(
            refused.expect_err("it is refused").code(),
            Code::Unauthenticated
        );
    }
    let right = Bearer(plane.fleet.relay_token().to_owned());
    let mut relay = RelayServiceClient::with_interceptor(plane.channel(), right);
    let empty = relay.ask(AskRequest::default()).await;
    assert_eq!(
        empty.expect_err("it asks nothing").code(),
        Code::InvalidArgument
    );
}

/// A control plane that can be killed with everything it has under way.
async fn doomed(url: &str, timings: Timings) -> (Runtime, Plane) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let url = url.to_owned();
    let started = runtime.spawn(async move { Plane::on(&url, timings).await });
    let plane = started.await.expect("it starts");
    (runtime, plane)
}

#[tokio::test]
async fn when_a_replica_is_killed_its_agents_go_on_with_the_other_which_leads_then() {
    let url = tokio::task::spawn_blocking(postgres::database).await;
    let Some(url) = url.expect("the test's PostgreSQL starts") else {
        return;
    };
    let (runtime, killed) = doomed(&url, by_notice()).await;
    within("it leads", async {
        while !killed.fleet.gauges().leads {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let left = Plane::on(&url, by_notice()).await;
    let agent = TestAgent::enrolled(&killed, "edge-1", "default").await;
    let mut talk = agent.configuration(Holding::default()).await;
    talk.apply().await;
    let first = killed.source("first", "default").await;
    talk.apply().await;
    let id = agent.id.clone();
    left.shows(&id, "with the first", |agent| {
        agent.state() == AgentState::Connected && agent.revision == 1
    })
    .await;
    assert!(!left.fleet.gauges().leads, "one leads");

    runtime.shutdown_background();
    drop(talk.ending().await);
    left.shows(&id, "away", |agent| {
        agent.state() == AgentState::Disconnected
    })
    .await;
    let held = talk.held.clone();
    let agent = agent.dialling(&left);
    let mut talk = agent.configuration(held).await;
    assert_eq!(talk.apply().await, Got::Current, "nothing is sent twice");
    left.touch(&first, "changed at the other").await;
    assert_eq!(talk.apply().await, Got::Delta(vec![first.id], Vec::new()));
    left.shows(&id, "with the second", |agent| {
        agent.state() == AgentState::Connected && agent.revision == 2
    })
    .await;
    within("the other leads", async {
        while !left.fleet.gauges().leads {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_agent_that_went_to_the_other_replica_is_given_up_by_the_first() {
    let Some((one, two)) = pair(by_notice()).await else {
        return;
    };
    let agent = TestAgent::enrolled(&one, "edge-1", "default").await;
    let mut old = agent.configuration(Holding::default()).await;
    old.apply().await;
    one.shows(&agent.id, "acknowledged", |agent| {
        agent.connected_at.is_some()
    })
    .await;
    let held = old.held.clone();
    let agent = agent.dialling(&two);
    let mut new = agent.configuration(held).await;
    new.apply().await;
    // The first replica learns it when it next writes about the agent.
    one.source("ours", "default").await;
    old.apply().await;
    assert_eq!(old.ending().await.code(), Code::Aborted);
    assert!(
        matches!(new.apply().await, Got::Delta(..)),
        "the new one lives"
    );
}

#[tokio::test]
async fn an_agent_that_is_revoked_on_one_replica_loses_its_stream_to_the_other() {
    let Some((one, two)) = pair(by_notice()).await else {
        return;
    };
    let agent = TestAgent::enrolled(&one, "edge-1", "default").await;
    let agent = agent.dialling(&two);
    let mut talk = agent.configuration(Holding::default()).await;
    talk.apply().await;
    let id = agent.id.clone();
    let mut access = one.access();
    let revoked = access.revoke_agent(v1::RevokeAgentRequest { id });
    revoked.await.expect("a revoked agent");
    let ending = talk.ending().await;
    assert_eq!(ending.code(), Code::PermissionDenied, "{ending:?}");
    let (_say, said) = tokio::sync::mpsc::channel(1);
    let mut again =
        hookplane_proto::agent::v1::report_service_client::ReportServiceClient::with_interceptor(
            two.channel(),
            Bearer(agent.credential.clone()),
        );
    let again = again.stream(tokio_stream::wrappers::ReceiverStream::new(said));
    let again = again.await.expect_err("it does not come back");
    assert_eq!(again.code(), Code::PermissionDenied, "{again:?}");
}

#[tokio::test]
async fn without_notices_changes_are_looked_for() {
    let timings = Timings {
        replicas: PACE,
        refresh: Duration::from_millis(50),
        ..Timings::default()
    };
    let plane = Plane::with(timings).await;
    let agent = TestAgent::enrolled(&plane, "edge-1", "default").await;
    let mut talk = agent.configuration(Holding::default()).await;
    talk.apply().await;
    // Written by somebody who tells nobody, as a replica whose notice was lost.
    let silent = sea_orm::Database::connect(plane.url())
        .await
        .expect("a connection");
    let change = "UPDATE installation SET revision = revision + 1";
    sea_orm::ConnectionTrait::execute_unprepared(&silent, change)
        .await
        .expect("a revision");
    assert_eq!(talk.apply().await, Got::Delta(Vec::new(), Vec::new()));
}

#[tokio::test]
async fn replicas_that_start_together_migrate_an_empty_database_once() {
    let url = tokio::task::spawn_blocking(postgres::database).await;
    let Some(url) = url.expect("the test's PostgreSQL starts") else {
        return;
    };
    let (one, two) = tokio::join!(Plane::on(&url, by_notice()), Plane::on(&url, by_notice()));
    let epochs = [
        one.config.head().await.expect("a head").epoch,
        two.config.head().await.expect("a head").epoch,
    ];
    assert_eq!(epochs[0], epochs[1], "one installation");
}

#[tokio::test]
async fn who_comes_in_the_place_of_a_killed_one_waits_for_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite://{}?mode=rwc", folder.path().join("a.db").display());
    let patient = Timings {
        replicas: Pace {
            dead_after: Duration::from_secs(3_600),
            ..PACE
        },
        ..Timings::default()
    };
    let (runtime, killed) = doomed(&url, patient).await;
    let agent = TestAgent::enrolled(&killed, "edge-1", "default").await;
    let mut talk = agent.configuration(Holding::default()).await;
    talk.apply().await;
    let connected = |agent: &v1::Agent| agent.connected_at.is_some();
    killed.shows(&agent.id, "connected", connected).await;
    within("it leads", async {
        while !killed.fleet.gauges().leads {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    runtime.shutdown_background();
    drop(talk.ending().await);
    let next = Plane::on(&url, patient).await;
    within("the next one leads", async {
        while !next.fleet.gauges().leads {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let shown = next.shown(&agent.id).await;
    assert_eq!(shown.state(), AgentState::Disconnected, "not with the dead");
}

#[tokio::test]
async fn a_replica_whose_row_cannot_be_read_stops_nobody_from_leading() {
    let timings = Timings {
        replicas: PACE,
        ..Timings::default()
    };
    let plane = Plane::with(timings).await;
    leads(&plane).await;
    // A token is sealed for its row: under another id nobody can read it.
    let database = sea_orm::Database::connect(plane.url()).await;
    let copy = "INSERT INTO replicas (id, url, token, beat, started_at) \
                SELECT 'rpl_unreadable', 'http://127.0.0.1:1', token, beat, started_at FROM replicas";
    let database = database.expect("it can be opened");
    database.execute_unprepared(copy).await.expect("a row");
    let plane = plane.restart().await;
    leads(&plane).await;
}

async fn leads(plane: &Plane) {
    within("a leader", async {
        while !plane.fleet.gauges().leads {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}
