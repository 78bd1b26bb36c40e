//! Staged rollouts: the share first, then everyone, or back.

use std::time::Duration;

use hookplane_control_plane::clock::Clock as _;
use hookplane_control_plane::fleet::Timings;
use hookplane_control_plane::store::AuditFilter;
use hookplane_proto::agent::v1::resource::Body;
use hookplane_proto::agent::v1::{DestinationReport, Histogram, ReportStreamRequest};
use hookplane_proto::v1::{self, ConfigState, RolloutState};
use prost_types::Timestamp;
use tonic::Code;

use crate::agent::{Got, Holding, Talk, TestAgent};
use crate::plane::{Plane, within};

fn quick() -> Timings {
    Timings {
        judge: Duration::from_millis(20),
        gather: Duration::from_millis(1),
        ..Timings::default()
    }
}

/// A pool of two agents with half as the share.
pub(crate) struct Scene {
    pub(crate) plane: Plane,
    agents: Vec<(TestAgent, Talk)>,
}

impl Scene {
    pub(crate) async fn with_hold(seconds: u32) -> Self {
        let plane = Plane::with(quick()).await;
        let mut agents = Vec::new();
        for name in ["edge-1", "edge-2"] {
            let agent = TestAgent::enrolled(&plane, name, "default").await;
            let mut talk = agent.configuration(Holding::default()).await;
            talk.apply().await;
            plane
                .shows(&agent.id, "connected", |agent| agent.connected_at.is_some())
                .await;
            agents.push((agent, talk));
        }
        set_policy(&plane, seconds).await;
        Self { plane, agents }
    }

    pub(crate) async fn rollout(&self) -> v1::Rollout {
        newest(&self.plane).await
    }

    /// The agents in the share and out of it.
    async fn apart(self) -> (Plane, (TestAgent, Talk), (TestAgent, Talk)) {
        let rollout = newest(&self.plane).await;
        let [share] = &rollout.agents[..] else {
            panic!("half of two is one: {rollout:?}");
        };
        let mut agents = self.agents;
        let at = agents.iter().position(|(agent, _)| agent.id == share.id);
        let first = agents.remove(at.expect("one of them"));
        let other = agents.remove(0);
        (self.plane, first, other)
    }
}

async fn set_policy(plane: &Plane, hold_seconds: u32) {
    let policy = v1::RolloutPolicy {
        share_percent: 50,
        hold_seconds,
        ..v1::RolloutPolicy::default()
    };
    let asked = v1::SetRolloutPolicyRequest {
        policy: Some(policy),
        pool: "default".to_owned(),
    };
    let set = plane.rollouts().set_rollout_policy(asked).await;
    assert_eq!(set.expect("a policy").into_inner().max_failure_percent, 20);
}

pub(crate) async fn newest(plane: &Plane) -> v1::Rollout {
    let all = v1::ListRolloutsRequest::default();
    let all = plane.rollouts().list_rollouts(all).await;
    let all = all.expect("a list").into_inner();
    all.models.into_iter().next().expect("a rollout")
}

async fn becomes(plane: &Plane, wanted: RolloutState) -> v1::Rollout {
    within("the rollout's end", async {
        loop {
            let rollout = newest(plane).await;
            if rollout.state() == wanted {
                return rollout;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
}

fn description(talk: &Talk, id: &str) -> String {
    let one = &talk.held.resources[&("source", id.to_owned())];
    match &one.body {
        Some(Body::Source(group)) => group.source.clone().expect("a source").description,
        other => panic!("{other:?} is no source"),
    }
}

#[tokio::test]
async fn a_change_reaches_the_share_first_and_everyone_after_the_hold() {
    let scene = Scene::with_hold(60).await;
    let source = scene.plane.source("ours", "default").await;
    let (plane, (share, mut first), (other, mut rest)) = scene.apart().await;
    let got = first.apply().await;
    assert_eq!(got, Got::Delta(vec![source.id.clone()], Vec::new()));
    let held = plane
        .shows(&share.id, "the change", |agent| agent.revision > 0)
        .await;
    assert_eq!(held.config_state(), ConfigState::Current);
    let rollout = newest(&plane).await;
    assert_eq!(rollout.state(), RolloutState::Holding);
    assert_eq!(rollout.resources[0].id, source.id);
    let shown = plane.shown(&other.id).await;
    assert_eq!(shown.config_state(), ConfigState::HeldBack);
    assert!(rest.held.resources.is_empty());
    // The judge has seen it by the time it tells what it waits for.
    within("what it waits for", async {
        while !newest(&plane).await.reason.contains("holds for 60 s") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    plane.clock.advance(Duration::from_secs(61));
    let rollout = becomes(&plane, RolloutState::Promoted).await;
    assert!(rollout.resources.is_empty() && rollout.ended_revision > 0);
    let got = rest.apply().await;
    assert_eq!(got, Got::Delta(vec![source.id], Vec::new()), "now the rest");
}

#[tokio::test]
async fn a_refusal_in_the_share_takes_the_change_back_from_everyone() {
    let scene = Scene::with_hold(60).await;
    let plane = &scene.plane;
    let delete = v1::DeleteRolloutPolicyRequest {
        pool: "default".to_owned(),
    };
    plane
        .rollouts()
        .delete_rollout_policy(delete)
        .await
        .expect("deleted");
    let source = plane.source("ours", "default").await;
    plane.touch(&source, "good").await;
    let mut scene = scene;
    for (_, talk) in &mut scene.agents {
        while !talk
            .held
            .resources
            .contains_key(&("source", source.id.clone()))
            || description(talk, &source.id) != "good"
        {
            talk.apply().await;
        }
    }
    set_policy(&scene.plane, 60).await;
    scene.plane.touch(&source, "bad").await;
    let (plane, (_, mut first), (_, mut rest)) = scene.apart().await;
    let before = first.held.resources[&("source", source.id.clone())].clone();
    let (_, nonce) = first.take().await;
    assert_eq!(description(&first, &source.id), "bad");
    let refused_at = first.held.revision;
    first.refuse(nonce, &source.id, Some(before)).await;
    let rollout = becomes(&plane, RolloutState::Returned).await;
    assert!(
        rollout.reason.contains("refused the source"),
        "{}",
        rollout.reason
    );
    first.apply().await;
    assert_eq!(description(&first, &source.id), "good", "the old content");
    assert!(first.held.revision > refused_at, "as a new revision");
    rest.apply().await;
    assert_eq!(
        description(&rest, &source.id),
        "good",
        "never anything else"
    );
    let stored = plane.config.source(&plane.team, &source.id).await;
    let stored = stored.expect("read").expect("there");
    assert_eq!(stored.spec.description, "good", "the API shows it too");
}

#[tokio::test]
async fn failing_deliveries_on_the_share_take_the_change_back() {
    let scene = Scene::with_hold(600).await;
    let source = scene.plane.source("ours", "default").await;
    let (plane, (share, mut first), _rest) = scene.apart().await;
    first.apply().await;
    let (say, mut hear) = share.reports().await;
    let millis = plane.clock.now_millis();
    let report = ReportStreamRequest {
        sequence: 1,
        minute: Some(Timestamp {
            seconds: millis / 60_000 * 60,
            nanos: 0,
        }),
        destinations: vec![DestinationReport {
            team_id: plane.team.clone(),
            destination_id: "des_any".to_owned(),
            attempts: 40,
            failed: 30,
            successful: 10,
            delivery_latency: Some(Histogram::default()),
            ..DestinationReport::default()
        }],
        ..ReportStreamRequest::default()
    };
    say.send(report).await.expect("an open stream");
    hear.message().await.expect("counted");
    let rollout = becomes(&plane, RolloutState::Returned).await;
    assert!(
        rollout.reason.contains("75 % of the delivery attempts"),
        "{}",
        rollout.reason
    );
    let got = first.apply().await;
    assert_eq!(got, Got::Delta(Vec::new(), vec![source.id.clone()]));
    let stored = plane.config.source(&plane.team, &source.id).await;
    assert!(stored.expect("read").is_none(), "it was new, so it is gone");
    let ledger = plane.config.ledger();
    let any = AuditFilter::default();
    let newest = ledger.list(&plane.team, &any, None, 1);
    let newest = newest.await.expect("read").remove(0);
    let seen = (newest.action.as_str(), newest.actor.key_name.as_str());
    assert_eq!(seen, ("return", "the control plane"));
}

#[tokio::test]
async fn people_promote_and_return_by_hand_and_only_once() {
    let scene = Scene::with_hold(0).await;
    let source = scene.plane.source("ours", "default").await;
    let rollout = scene.rollout().await;
    let (plane, (_, mut first), (_, mut rest)) = scene.apart().await;
    first.apply().await;
    let promote = v1::PromoteRolloutRequest {
        id: rollout.id.clone(),
        reason: "looks good".to_owned(),
        ..v1::PromoteRolloutRequest::default()
    };
    let ended = plane.rollouts().promote_rollout(promote.clone()).await;
    let ended = ended.expect("promoted").into_inner();
    assert_eq!(ended.state(), RolloutState::Promoted);
    assert!(ended.reason.ends_with("looks good"), "{}", ended.reason);
    rest.apply().await;
    let again = plane.rollouts().promote_rollout(promote).await;
    assert_eq!(
        again.expect_err("it ended").code(),
        Code::FailedPrecondition
    );

    plane.touch(&source, "worse").await;
    let rollout = newest(&plane).await;
    let back = v1::ReturnRolloutRequest {
        id: rollout.id,
        reason: String::new(),
        ..v1::ReturnRolloutRequest::default()
    };
    plane
        .rollouts()
        .return_rollout(back)
        .await
        .expect("returned");
    for talk in [&mut first, &mut rest] {
        while talk.held.revision < newest(&plane).await.ended_revision {
            talk.apply().await;
        }
        assert_eq!(description(talk, &source.id), "", "as before");
    }
}

#[tokio::test]
async fn a_return_puts_back_what_was_deleted_and_takes_away_what_was_made() {
    let scene = Scene::with_hold(0).await;
    let plane = &scene.plane;
    let source = plane.source("ours", "default").await;
    let (to, connection) = plane.connect(&source, "billing").await;
    let promote = v1::PromoteRolloutRequest {
        id: scene.rollout().await.id,
        reason: String::new(),
        ..v1::PromoteRolloutRequest::default()
    };
    plane
        .rollouts()
        .promote_rollout(promote)
        .await
        .expect("promoted");
    plane.disconnect(&connection).await;
    plane.source("new", "default").await;
    let (_, second) = plane.connect(&source, "other").await;
    let back = v1::ReturnRolloutRequest {
        id: scene.rollout().await.id,
        reason: String::new(),
        ..v1::ReturnRolloutRequest::default()
    };
    plane
        .rollouts()
        .return_rollout(back)
        .await
        .expect("returned");
    let team = &plane.team;
    let there = plane.config.connection(team, &connection.id).await;
    assert!(there.expect("read").is_some(), "the deleted one is back");
    let there = plane.config.connection(team, &second.id).await;
    assert!(there.expect("read").is_none(), "the new one is gone");
    let pool = plane.config.pool("default").await.expect("a pool");
    let names: Vec<_> = pool
        .sources
        .iter()
        .map(|one| one.source.spec.name.as_str())
        .collect();
    assert_eq!(names, ["ours"]);
    assert_eq!(pool.destinations[0].id, to.id);
    assert!(
        pool.deleted.iter().all(|one| one.id != connection.id),
        "no deletion any more"
    );
}

#[tokio::test]
async fn who_comes_during_a_hold_gets_what_was_before_also_from_a_new_process() {
    let scene = Scene::with_hold(0).await;
    let plane = &scene.plane;
    let source = plane.source("ours", "default").await;
    let promote = v1::PromoteRolloutRequest {
        id: scene.rollout().await.id,
        reason: String::new(),
        ..v1::PromoteRolloutRequest::default()
    };
    plane
        .rollouts()
        .promote_rollout(promote)
        .await
        .expect("promoted");
    plane.touch(&source, "held back").await;
    let added = plane.source("added", "default").await;
    let late = TestAgent::enrolled(plane, "edge-3", "default").await;
    let mut talk = late.configuration(Holding::default()).await;
    let before = Got::Snapshot(vec![source.id.clone()], 1);
    assert_eq!(talk.apply().await, before);
    assert_eq!(description(&talk, &source.id), "");
    let held = talk.held.clone();
    drop(talk);
    let plane = scene.plane.restart().await;
    let late = late.dialling(&plane);
    let mut talk = late.configuration(held).await;
    assert_eq!(
        talk.apply().await,
        Got::Current,
        "the same from a new process"
    );
    let fresh = TestAgent::enrolled(&plane, "edge-4", "default").await;
    let mut anew = fresh.configuration(Holding::default()).await;
    assert_eq!(anew.apply().await, before);
    let promote = v1::PromoteRolloutRequest {
        id: newest(&plane).await.id,
        reason: String::new(),
        ..v1::PromoteRolloutRequest::default()
    };
    plane
        .rollouts()
        .promote_rollout(promote)
        .await
        .expect("promoted");
    let mut both = vec![source.id, added.id];
    both.sort();
    assert_eq!(talk.apply().await, Got::Delta(both, Vec::new()));
}

/// The path that the first connection of a source lets through.
fn path(talk: &Talk, id: &str) -> String {
    let one = &talk.held.resources[&("source", id.to_owned())];
    let Some(Body::Source(group)) = &one.body else {
        panic!("it is no source");
    };
    let rule = group.connections[0].rules[0].rule.clone();
    let Some(v1::rule::Rule::Filter(filter)) = rule else {
        panic!("the rule is no filter: {rule:?}");
    };
    match filter.path.and_then(|path| path.kind) {
        Some(prost_types::value::Kind::StringValue(path)) => path,
        other => panic!("{other:?} is no path"),
    }
}

#[tokio::test]
async fn a_stored_filter_is_held_back_and_returned_with_the_connections_that_use_it() {
    let scene = Scene::with_hold(0).await;
    let plane = &scene.plane;
    let source = plane.source("ours", "default").await;
    let (_, connection) = plane.connect(&source, "billing").await;
    let filter = plane.filter("invoices", "/invoices").await;
    plane.filter_by(&connection, &filter).await;
    let promote = v1::PromoteRolloutRequest {
        id: scene.rollout().await.id,
        reason: String::new(),
        ..v1::PromoteRolloutRequest::default()
    };
    plane
        .rollouts()
        .promote_rollout(promote)
        .await
        .expect("promoted");
    plane.filter("invoices", "/paid").await;
    let head = plane.config.head().await.expect("a head").revision;
    let (plane, (_, mut first), (_, mut rest)) = scene.apart().await;
    while first.held.revision < head {
        first.apply().await;
    }
    while rest.held.revision < head - 1 {
        rest.apply().await;
    }
    assert_eq!(path(&first, &source.id), "/paid");
    assert_eq!(path(&rest, &source.id), "/invoices");
    let fresh = TestAgent::enrolled(&plane, "edge-3", "default").await;
    let mut anew = fresh.configuration(Holding::default()).await;
    anew.apply().await;
    assert_eq!(path(&anew, &source.id), "/invoices", "put over the newest");
    let back = v1::ReturnRolloutRequest {
        id: newest(&plane).await.id,
        reason: String::new(),
        ..v1::ReturnRolloutRequest::default()
    };
    plane
        .rollouts()
        .return_rollout(back)
        .await
        .expect("returned");
    first.apply().await;
    assert_eq!(path(&first, &source.id), "/invoices");
    let stored = plane.config.filter(&plane.team, &filter.id).await;
    let stored = stored.expect("read").expect("there");
    assert_eq!(stored.spec.conditions, filter.spec.conditions);
}
