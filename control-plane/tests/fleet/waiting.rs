//! The wait for agents: over when all have it, and who is behind when not.

use hookplane_proto::v1::{
    ConditionState, ConfigState, ListAgentsRequest, WaitAppliedRequest, WaitAppliedResponse,
};
use sea_orm::ConnectionTrait as _;

use crate::agent::{Holding, TestAgent};
use crate::plane::{Plane, within};

async fn wait(plane: &Plane, timeout_ms: u32) -> WaitAppliedResponse {
    let asked = WaitAppliedRequest {
        timeout_ms,
        ..WaitAppliedRequest::default()
    };
    let stand = plane.configuration().wait_applied(asked).await;
    stand.expect("an answer").into_inner()
}

#[tokio::test]
async fn a_wait_ends_when_the_last_live_agent_has_the_revision() {
    let plane = Plane::start().await;
    plane.source("ours", "default").await;
    let agent = TestAgent::enrolled(&plane, "edge-1", "default").await;
    TestAgent::enrolled(&plane, "edge-2", "default").await;
    let mut talk = agent.configuration(Holding::default()).await;
    let (_, nonce) = talk.take().await;
    let behind = wait(&plane, 50).await;
    assert!(!behind.applied, "it has not acknowledged yet");
    assert_eq!(behind.behind[0].agent_name, "edge-1");
    assert_eq!(behind.behind[0].state(), ConditionState::Pending);
    assert_eq!(behind.away[0].agent_name, "edge-2", "it is not waited for");

    let waiting = wait(&plane, 10_000);
    let acknowledging = async {
        talk.ack(nonce).await;
    };
    let (stand, ()) = within("the wait is over", async {
        tokio::join!(waiting, acknowledging)
    })
    .await;
    assert_eq!((stand.applied, stand.agents), (true, 1));
}

#[tokio::test]
async fn a_refusal_ends_the_wait_at_once_and_is_told() {
    let plane = Plane::start().await;
    let bad = plane.source("bad", "default").await;
    let agent = TestAgent::enrolled(&plane, "edge-1", "default").await;
    let mut talk = agent.configuration(Holding::default()).await;
    let (_, nonce) = talk.take().await;
    talk.refuse(nonce, &bad.id, None).await;
    let stand = within("the refusal is told", async {
        loop {
            let stand = wait(&plane, 10_000).await;
            if !stand.behind.is_empty() {
                return stand;
            }
        }
    })
    .await;
    assert!(!stand.applied);
    assert_eq!(stand.behind[0].state(), ConditionState::Refused);
    assert_eq!(stand.behind[0].reason, "secret_invalid");
}

/// Makes a source another team's.
async fn give_away(plane: &Plane, source_id: &str) {
    let database = sea_orm::Database::connect(plane.url()).await;
    let database = database.expect("the same database");
    for statement in [
        "INSERT INTO teams (id, name, created_at) VALUES ('tm_other', 'other', 0) \
         ON CONFLICT DO NOTHING"
            .to_owned(),
        format!("UPDATE sources SET team_id = 'tm_other' WHERE id = '{source_id}'"),
    ] {
        let done = database.execute_unprepared(&statement).await;
        done.expect("a statement");
    }
}

#[tokio::test]
async fn what_an_agent_refuses_of_another_team_is_neither_told_nor_counted() {
    let plane = Plane::start().await;
    plane.source("ours", "default").await;
    let theirs = plane.source("theirs", "default").await;
    let elsewhere = plane.source("elsewhere", "secret-pool").await;
    let agent = TestAgent::enrolled(&plane, "edge-1", "default").await;
    let other = TestAgent::enrolled(&plane, "edge-2", "secret-pool").await;
    let _open = other.configuration(Holding::default()).await;
    let mut talk = agent.configuration(Holding::default()).await;
    let (_, nonce) = talk.take().await;
    talk.refuse(nonce, &theirs.id, None).await;
    let refused = ConfigState::Refused;
    let shown = plane.shows(&agent.id, "the refusal is known", |one| {
        one.config_state() == refused
    });
    shown.await;

    give_away(&plane, &theirs.id).await;
    give_away(&plane, &elsewhere.id).await;

    let stand = wait(&plane, 10_000).await;
    assert!(stand.applied, "{stand:?}");
    let shown = plane.shown(&agent.id).await;
    assert!(shown.refused.is_empty(), "{shown:?}");
    assert_eq!(shown.config_state(), ConfigState::Current);
    let mut api = plane.fleet_api();
    let listed = api.list_agents(ListAgentsRequest::default()).await;
    let listed = listed.expect("a list").into_inner();
    let named = listed.models.iter().flat_map(|one| &one.refused);
    assert_eq!(named.count(), 0);

    let asked = WaitAppliedRequest {
        pools: vec!["secret-pool".to_owned()],
        timeout_ms: 50,
        ..WaitAppliedRequest::default()
    };
    let stand = plane.configuration().wait_applied(asked).await;
    let stand = stand.expect("an answer").into_inner();
    assert_eq!(stand.agents, 0, "the pool is another team's: {stand:?}");
    assert!(stand.pools.is_empty() && stand.away.is_empty(), "{stand:?}");
}

#[tokio::test]
async fn what_was_parked_long_ago_does_not_fail_the_wait_for_a_later_change() {
    let plane = Plane::start().await;
    let bad = plane.source("bad", "default").await;
    let agent = TestAgent::enrolled(&plane, "edge-1", "default").await;
    let mut talk = agent.configuration(Holding::default()).await;
    let (_, nonce) = talk.take().await;
    talk.refuse(nonce, &bad.id, None).await;
    let refused = ConfigState::Refused;
    let shown = plane.shows(&agent.id, "the refusal is known", |one| {
        one.config_state() == refused
    });
    shown.await;
    let wait_for = |revision| {
        let asked = WaitAppliedRequest {
            revision,
            timeout_ms: 10_000,
            ..WaitAppliedRequest::default()
        };
        let mut client = plane.configuration();
        async move {
            client
                .wait_applied(asked)
                .await
                .expect("an answer")
                .into_inner()
        }
    };
    let stand = wait_for(bad.revision).await;
    assert_eq!(stand.behind[0].state(), ConditionState::Refused);

    let good = plane.source("good", "default").await;
    let (_, nonce) = talk.take().await;
    talk.ack(nonce).await;
    let stand = within("the wait is over", wait_for(good.revision)).await;
    assert!(stand.applied, "{stand:?}");
}
