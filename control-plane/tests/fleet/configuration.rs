//! The configuration stream: current, delta or snapshot, and when it ends.

use std::collections::BTreeMap;
use std::time::Duration;

use hookplane_control_plane::domain::Caller;
use hookplane_control_plane::domain::handler_key::HandlerKeyDraft;
use hookplane_control_plane::fleet::Timings;
use hookplane_control_plane::service::HandlerKeys;
use hookplane_proto::agent::v1::resource::Body;
use hookplane_proto::agent::v1::{KnownHandlerKey, Resource};
use hookplane_proto::v1::{AgentState, ConfigState};
use sha2::{Digest as _, Sha256};
use tonic::Code;

use crate::agent::{Got, Holding, TestAgent};
use crate::plane::{Plane, SECRET};

fn sorted(ids: &[&str]) -> Vec<String> {
    let mut ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
    ids.sort();
    ids
}

#[tokio::test]
async fn a_new_agent_gets_everything_of_its_pool_and_nothing_else() {
    let plane = Plane::start().await;
    let ours = plane.source("ours", "default").await;
    let (to, _) = plane.connect(&ours, "billing").await;
    let theirs = plane.source("theirs", "elsewhere").await;
    plane.connect(&theirs, "foreign").await;
    let agent = TestAgent::enrolled(&plane, "edge-1", "default").await;
    let mut talk = agent.configuration(Holding::default()).await;
    let got = talk.apply().await;
    assert_eq!(got, Got::Snapshot(sorted(&[&ours.id, &to.id]), 1));
    let group = &talk.held.resources[&("source", ours.id.clone())];
    let Some(Body::Source(group)) = &group.body else {
        panic!("a source comes as a group");
    };
    assert_eq!(group.connections.len(), 1, "with its connections");
    let shown = format!(
        "{:?}",
        group.source.as_ref().map(prost::Message::encode_to_vec)
    );
    let secret = format!("{:?}", SECRET.as_bytes());
    assert!(
        shown.contains(secret.trim_matches(['[', ']'])),
        "with its secret"
    );
    let agent = plane
        .shows(&agent.id, "acknowledged", |agent| agent.revision > 0)
        .await;
    assert_eq!(agent.config_state(), ConfigState::Current);
    assert_eq!(agent.state(), AgentState::Connected);
    assert_eq!(agent.digest, talk.held.digest());
}

#[tokio::test]
async fn changes_and_removals_come_as_deltas_to_every_agent() {
    let plane = Plane::start().await;
    let source = plane.source("ours", "default").await;
    let one = TestAgent::enrolled(&plane, "edge-1", "default").await;
    let two = TestAgent::enrolled(&plane, "edge-2", "default").await;
    let mut talks = [
        one.configuration(Holding::default()).await,
        two.configuration(Holding::default()).await,
    ];
    for talk in &mut talks {
        talk.apply().await;
    }
    let (to, connection) = plane.connect(&source, "billing").await;
    for talk in &mut talks {
        let mut changed = Vec::new();
        while talk.held.resources.len() < 2 {
            match talk.apply().await {
                Got::Delta(more, _) => changed.extend(more),
                other => panic!("{other:?} instead of a delta"),
            }
        }
        changed.sort();
        assert_eq!(changed, sorted(&[&source.id, &to.id]));
    }
    plane.disconnect(&connection).await;
    for talk in &mut talks {
        let got = talk.apply().await;
        let removed = Got::Delta(vec![source.id.clone()], vec![to.id.clone()]);
        assert_eq!(
            got, removed,
            "what nothing refers to any more is taken away"
        );
    }
    let head = plane.config.head().await.expect("a head").revision;
    for id in [&one.id, &two.id] {
        plane
            .shows(id, "the newest revision", |agent| agent.revision == head)
            .await;
    }
}

#[tokio::test]
async fn a_handlers_key_reaches_agents_as_a_hash_and_leaves_them_when_it_is_revoked() {
    let plane = Plane::start().await;
    let ours = plane.source("ours", "default").await;
    let theirs = plane.source("theirs", "elsewhere").await;
    let agent = TestAgent::enrolled(&plane, "edge-1", "default").await;
    let mut talk = agent.configuration(Holding::default()).await;
    talk.apply().await;
    let draft = HandlerKeyDraft {
        name: "users".to_owned(),
        source_ids: vec![ours.id.clone(), theirs.id.clone()],
    };
    let caller = Caller::system(&plane.team);
    let keys = HandlerKeys::new(plane.config.clone(), plane.clock.clone());
    let made = keys.create(&caller, draft).await;
    let made = made.expect("a key");
    let got = talk.apply().await;
    assert_eq!(got, Got::Delta(vec![ours.id.clone()], Vec::new()));
    let known = |resources: &BTreeMap<(&'static str, String), Resource>| {
        let resource = &resources[&("source", ours.id.clone())];
        let Some(Body::Source(group)) = &resource.body else {
            panic!("a source comes as a group");
        };
        group.handler_keys.clone()
    };
    let hash = Sha256::digest(made.secret.as_bytes()).to_vec();
    let expected = KnownHandlerKey {
        id: made.key.id.clone(),
        sha256: hash,
    };
    assert_eq!(known(&talk.held.resources), [expected]);

    let revoked = keys.revoke(&caller, &made.key.id).await;
    assert!(revoked.expect("it was in force").revoked_at.is_some());
    let got = talk.apply().await;
    assert_eq!(got, Got::Delta(vec![ours.id.clone()], Vec::new()));
    assert_eq!(known(&talk.held.resources), []);
}

#[tokio::test]
async fn a_change_of_another_pool_moves_the_revision_and_nothing_else() {
    let plane = Plane::start().await;
    let agent = TestAgent::enrolled(&plane, "edge-1", "default").await;
    let mut talk = agent.configuration(Holding::default()).await;
    talk.apply().await;
    plane.source("theirs", "elsewhere").await;
    assert_eq!(talk.apply().await, Got::Delta(Vec::new(), Vec::new()));
    let head = plane.config.head().await.expect("a head").revision;
    let agent = plane
        .shows(&agent.id, "the revision", |agent| agent.revision == head)
        .await;
    assert_eq!(agent.config_state(), ConfigState::Current);
}

#[tokio::test]
async fn a_returning_agent_gets_only_what_it_lacks() {
    let plane = Plane::start().await;
    let first = plane.source("first", "default").await;
    let agent = TestAgent::enrolled(&plane, "edge-1", "default").await;
    let mut talk = agent.configuration(Holding::default()).await;
    talk.apply().await;
    let held = talk.held.clone();
    plane
        .shows(&agent.id, "acknowledged", |agent| agent.revision > 0)
        .await;
    drop(talk);
    let mut talk = agent.configuration(held.clone()).await;
    assert_eq!(talk.apply().await, Got::Current, "nothing changed");
    drop(talk);
    plane
        .shows(&agent.id, "away", |agent| {
            agent.state() == AgentState::Disconnected
        })
        .await;
    let second = plane.source("second", "default").await;
    plane.touch(&first, "changed").await;
    let mut talk = agent.configuration(held).await;
    let got = talk.apply().await;
    assert_eq!(
        got,
        Got::Delta(sorted(&[&first.id, &second.id]), Vec::new())
    );
}

#[tokio::test]
async fn what_is_not_known_is_answered_with_a_snapshot() {
    let plane = Plane::start().await;
    let source = plane.source("ours", "default").await;
    let agent = TestAgent::enrolled(&plane, "edge-1", "default").await;
    let mut talk = agent.configuration(Holding::default()).await;
    talk.apply().await;
    let good = talk.held.clone();
    let everything = Got::Snapshot(vec![source.id.clone()], 1);
    let mut strange = good.clone();
    strange
        .resources
        .values_mut()
        .for_each(|one| one.version += 7);
    let mut foreign = good.clone();
    foreign.epoch = "another-lineage".to_owned();
    let mut ahead = good.clone();
    ahead.revision += 10;
    for (what, held) in [("digest", strange), ("epoch", foreign), ("revision", ahead)] {
        let mut talk = agent.configuration(held).await;
        assert_eq!(talk.apply().await, everything, "unknown {what}");
    }
    plane.touch(&source, "changed while nobody remembers").await;
    let plane = plane.restart().await;
    let agent = agent.dialling(&plane);
    let mut talk = agent.configuration(good).await;
    assert_eq!(talk.apply().await, everything, "too old to be remembered");
    let held = talk.held.clone();
    let plane = plane.restart().await;
    let mut talk = agent.dialling(&plane).configuration(held).await;
    assert_eq!(
        talk.apply().await,
        Got::Current,
        "a restart alone costs nothing"
    );
}

#[tokio::test]
async fn a_large_snapshot_comes_in_parts_below_the_message_limit() {
    let plane = Plane::start().await;
    let mut source = plane.source("large", "elsewhere").await;
    source.spec.pool = "default".to_owned();
    let change = plane.config.change().await.expect("a change");
    for number in 0..200 {
        source.id = format!("src_{number:026}");
        source.spec.name = format!("large {number}");
        source.spec.description = "x".repeat(12_000);
        source.revision = change.revision();
        change.insert_source(&source).await.expect("inserted");
    }
    change.commit().await.expect("committed");
    let agent = TestAgent::enrolled(&plane, "edge-1", "default").await;
    let mut talk = agent.configuration(Holding::default()).await;
    let Got::Snapshot(ids, parts) = talk.apply().await else {
        panic!("the first contact is a snapshot");
    };
    assert_eq!(ids.len(), 200);
    assert!(parts > 2, "{parts} parts");
    plane
        .shows(&agent.id, "acknowledged", |agent| agent.revision > 0)
        .await;
}

#[tokio::test]
async fn a_second_stream_of_an_agent_replaces_the_first() {
    let plane = Plane::start().await;
    let agent = TestAgent::enrolled(&plane, "edge-1", "default").await;
    let mut old = agent.configuration(Holding::default()).await;
    old.apply().await;
    let mut new = agent.configuration(Holding::default()).await;
    assert_eq!(old.ending().await.code(), Code::Aborted);
    new.apply().await;
    plane.source("ours", "default").await;
    assert!(
        matches!(new.apply().await, Got::Delta(..)),
        "the new one lives"
    );
    let shown = plane.shown(&agent.id).await;
    assert_eq!(shown.state(), AgentState::Connected);
}

#[tokio::test]
async fn an_agent_that_does_not_acknowledge_is_cut_off() {
    let timings = Timings {
        answer: Duration::from_millis(200),
        ..Timings::default()
    };
    let plane = Plane::with(timings).await;
    let agent = TestAgent::enrolled(&plane, "edge-1", "default").await;
    let mut talk = agent.configuration(Holding::default()).await;
    let (got, _) = talk.take().await;
    assert!(matches!(got, Got::Snapshot(..)));
    assert_eq!(talk.ending().await.code(), Code::DeadlineExceeded);
    // Whether it had applied it is not known, so it starts over with everything.
    let mut talk = agent.configuration(Holding::default()).await;
    assert!(matches!(talk.apply().await, Got::Snapshot(..)));
}

#[tokio::test]
async fn a_source_that_moves_takes_its_secrets_from_the_agents_that_lost_it() {
    let plane = Plane::start().await;
    let source = plane.source("ours", "default").await;
    let (to, _) = plane.connect(&source, "billing").await;
    let loser = TestAgent::enrolled(&plane, "edge-1", "default").await;
    let winner = TestAgent::enrolled(&plane, "edge-2", "elsewhere").await;
    let mut loses = loser.configuration(Holding::default()).await;
    let mut wins = winner.configuration(Holding::default()).await;
    loses.apply().await;
    wins.apply().await;
    plane.move_to(&source, "elsewhere").await;
    let gone = sorted(&[&source.id, &to.id]);
    assert_eq!(loses.apply().await, Got::Delta(Vec::new(), gone.clone()));
    assert_eq!(wins.apply().await, Got::Delta(gone, Vec::new()));
    assert!(loses.held.resources.is_empty(), "secrets included");
    let again = loser.configuration(Holding::default()).await.apply().await;
    assert_eq!(
        again,
        Got::Snapshot(Vec::new(), 1),
        "nor when it starts over"
    );
}

#[tokio::test]
async fn a_silent_agent_is_cut_off_and_a_talking_one_is_not() {
    let timings = Timings {
        silence: Duration::from_millis(400),
        heartbeat: Duration::from_millis(50),
        ..Timings::default()
    };
    let plane = Plane::with(timings).await;
    let silent = TestAgent::enrolled(&plane, "edge-1", "default").await;
    let talking = TestAgent::enrolled(&plane, "edge-2", "default").await;
    let mut quiet = silent.configuration(Holding::default()).await;
    quiet.apply().await;
    let mut lively = talking.configuration(Holding::default()).await;
    lively.apply().await;
    let ended = loop {
        let held = lively.held.held();
        lively.heartbeat(held).await;
        let wait = tokio::time::timeout(Duration::from_millis(50), quiet.ending());
        if let Ok(ended) = wait.await {
            break ended;
        }
    };
    assert_eq!(ended.code(), Code::DeadlineExceeded);
    plane.source("ours", "default").await;
    assert!(matches!(lively.apply().await, Got::Delta(..)));
}

#[tokio::test]
async fn an_agent_that_drifted_is_sent_away_to_resume_by_snapshot() {
    let plane = Plane::start().await;
    let source = plane.source("ours", "default").await;
    let agent = TestAgent::enrolled(&plane, "edge-1", "default").await;
    let mut talk = agent.configuration(Holding::default()).await;
    talk.apply().await;
    plane
        .shows(&agent.id, "acknowledged", |agent| agent.revision > 0)
        .await;
    let mut drifted = talk.held.clone();
    drifted.resources.clear();
    talk.heartbeat(drifted.held()).await;
    assert_eq!(talk.ending().await.code(), Code::Aborted);
    let shown = plane
        .shows(&agent.id, "the drift", |agent| agent.drifted_at.is_some())
        .await;
    assert_eq!(shown.config_state(), ConfigState::Drifted);
    assert_eq!(plane.fleet.gauges().drifts, 1);
    let mut talk = agent.configuration(drifted).await;
    assert_eq!(talk.apply().await, Got::Snapshot(vec![source.id], 1));
    let shown = plane
        .shows(&agent.id, "no drift", |agent| agent.drifted_at.is_none())
        .await;
    assert_eq!(shown.config_state(), ConfigState::Current);
}

#[tokio::test]
async fn an_agent_that_tells_of_another_revision_than_it_acknowledged_drifted() {
    let plane = Plane::start().await;
    plane.source("ours", "default").await;
    let agent = TestAgent::enrolled(&plane, "edge-1", "default").await;
    let mut talk = agent.configuration(Holding::default()).await;
    talk.apply().await;
    plane
        .shows(&agent.id, "acknowledged", |agent| agent.revision > 0)
        .await;
    let mut older = talk.held.held();
    older.revision -= 1;
    talk.heartbeat(older).await;
    assert_eq!(talk.ending().await.code(), Code::Aborted);
}

#[tokio::test]
async fn while_an_answer_is_awaited_changes_gather_into_one_delta() {
    let plane = Plane::start().await;
    let source = plane.source("ours", "default").await;
    let agent = TestAgent::enrolled(&plane, "edge-1", "default").await;
    let mut talk = agent.configuration(Holding::default()).await;
    let (_, nonce) = talk.take().await;
    for number in 0..20 {
        plane.touch(&source, &format!("change {number}")).await;
    }
    talk.ack(nonce).await;
    assert_eq!(talk.apply().await, Got::Delta(vec![source.id], Vec::new()));
    let head = plane.config.head().await.expect("a head").revision;
    assert_eq!(talk.held.revision, head, "straight to the newest");
}

#[tokio::test]
async fn shutdown_ends_streams_at_once_with_a_hint() {
    let plane = Plane::start().await;
    let agent = TestAgent::enrolled(&plane, "edge-1", "default").await;
    let mut talk = agent.configuration(Holding::default()).await;
    talk.take().await;
    let (ending, ()) = tokio::join!(talk.ending(), plane.stop());
    assert_eq!(ending.code(), Code::Unavailable, "{ending:?}");
    assert!(!ending.details().is_empty(), "with details");
}

#[tokio::test]
async fn a_stored_filter_reaches_agents_as_conditions_and_its_change_as_a_new_version() {
    let plane = Plane::start().await;
    let source = plane.source("ours", "default").await;
    let (_, connection) = plane.connect(&source, "billing").await;
    let filter = plane.filter("invoices", "/invoices").await;
    plane.filter_by(&connection, &filter).await;
    let agent = TestAgent::enrolled(&plane, "edge-1", "default").await;
    let mut talk = agent.configuration(Holding::default()).await;
    talk.apply().await;
    let condition = |talk: &crate::agent::Talk| {
        let group = &talk.held.resources[&("source", source.id.clone())];
        let Some(Body::Source(group)) = &group.body else {
            panic!("a source comes as a group");
        };
        let rule = group.connections[0].rules[0].rule.clone();
        let Some(hookplane_proto::v1::rule::Rule::Filter(rule)) = rule else {
            panic!("the rule is a filter");
        };
        assert_eq!(rule.filter_id, "", "agents know no stored filters");
        rule.path.and_then(|path| path.kind)
    };
    let is = |path: &str| Some(prost_types::value::Kind::StringValue(path.to_owned()));
    assert_eq!(condition(&talk), is("/invoices"));

    plane.filter("invoices", "/paid").await;
    let got = talk.apply().await;
    assert_eq!(got, Got::Delta(vec![source.id.clone()], Vec::new()));
    assert_eq!(condition(&talk), is("/paid"));
}
