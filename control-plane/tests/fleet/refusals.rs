//! Refused resources: shown, parked, and sent again only when they changed.

use hookplane_control_plane::fleet::{Stand, Subject};
use hookplane_control_plane::service::Call;
use hookplane_proto::v1::ConfigState;

use crate::agent::{Got, Holding, TestAgent};
use crate::plane::{Plane, within};

#[tokio::test]
async fn a_refused_version_is_shown_and_stays_away_until_it_changes() {
    let plane = Plane::start().await;
    let bad = plane.source("bad", "default").await;
    let good = plane.source("good", "default").await;
    let agent = TestAgent::enrolled(&plane, "edge-1", "default").await;
    let mut talk = agent.configuration(Holding::default()).await;
    let (_, nonce) = talk.take().await;
    talk.refuse(nonce, &bad.id, None).await;
    let shown = plane
        .shows(&agent.id, "the refusal", |agent| !agent.refused.is_empty())
        .await;
    assert_eq!(shown.config_state(), ConfigState::Refused);
    let refused = &shown.refused[0];
    assert_eq!((refused.kind.as_str(), &refused.id), ("source", &bad.id));
    assert_eq!(
        (refused.reason.as_str(), refused.version),
        ("secret_invalid", bad.revision)
    );

    plane.touch(&good, "changed").await;
    let (got, nonce) = talk.take().await;
    let only_good = Got::Delta(vec![good.id.clone()], Vec::new());
    assert_eq!(got, only_good, "the refused version is not sent again");
    talk.ack(nonce).await;
    let head = plane.config.head().await.expect("a head").revision;
    let shown = plane
        .shows(&agent.id, "the revision", |agent| agent.revision == head)
        .await;
    assert_eq!(shown.refused.len(), 1, "it is still refused: {shown:?}");

    let held = talk.held.clone();
    drop(talk);
    let mut talk = agent.configuration(held).await;
    plane.touch(&good, "changed again").await;
    loop {
        match talk.apply().await {
            Got::Current => {}
            Got::Delta(changed, _) if changed.is_empty() => {}
            other => break assert_eq!(other, only_good, "a reconnect does not send it either"),
        }
    }

    plane.touch(&bad, "corrected").await;
    assert_eq!(
        talk.apply().await,
        Got::Delta(vec![bad.id.clone()], Vec::new())
    );
    let shown = plane
        .shows(&agent.id, "no refusal", |agent| agent.refused.is_empty())
        .await;
    assert_eq!(shown.config_state(), ConfigState::Current);
}

#[tokio::test]
async fn a_refused_change_keeps_the_version_before() {
    let plane = Plane::start().await;
    let source = plane.source("ours", "default").await;
    let agent = TestAgent::enrolled(&plane, "edge-1", "default").await;
    let mut talk = agent.configuration(Holding::default()).await;
    talk.apply().await;
    let before = talk.held.resources[&("source", source.id.clone())].clone();
    plane.touch(&source, "worse").await;
    let (_, nonce) = talk.take().await;
    talk.refuse(nonce, &source.id, Some(before.clone())).await;
    plane
        .shows(&agent.id, "the refusal", |agent| !agent.refused.is_empty())
        .await;
    let other = plane.source("other", "default").await;
    assert_eq!(talk.apply().await, Got::Delta(vec![other.id], Vec::new()));
    assert_eq!(talk.held.resources[&("source", source.id.clone())], before);
    plane
        .sources()
        .delete(&Call::of_team(&plane.team), &source.id)
        .await
        .expect("deleted");
    assert_eq!(talk.apply().await, Got::Delta(Vec::new(), vec![source.id]));
    plane
        .shows(&agent.id, "no refusal", |agent| agent.refused.is_empty())
        .await;
}

#[tokio::test]
async fn a_parked_resource_that_became_usable_ends_the_refusal() {
    let plane = Plane::start().await;
    let source = plane.source("ours", "default").await;
    let agent = TestAgent::enrolled(&plane, "edge-1", "default").await;
    let mut talk = agent.configuration(Holding::default()).await;
    let (_, nonce) = talk.take().await;
    let parked = talk.held.resources[&("source", source.id.clone())].clone();
    talk.refuse(nonce, &source.id, None).await;
    plane
        .shows(&agent.id, "the refusal", |agent| !agent.refused.is_empty())
        .await;
    plane.source("other", "default").await;
    let (_, nonce) = talk.take().await;
    // What it lacked came with this change, so the agent applied the parked one too.
    talk.held
        .resources
        .insert(("source", source.id.clone()), parked);
    talk.ack(nonce).await;
    let shown = plane
        .shows(&agent.id, "no refusal", |agent| agent.refused.is_empty())
        .await;
    assert_eq!(shown.config_state(), ConfigState::Current);
}

#[tokio::test]
async fn each_agent_concerned_stands_to_a_resource_as_applied_refused_or_pending() {
    let plane = Plane::start().await;
    let source = plane.source("ours", "default").await;
    let fine = TestAgent::enrolled(&plane, "a-fine", "default").await;
    let picky = TestAgent::enrolled(&plane, "b-picky", "default").await;
    TestAgent::enrolled(&plane, "c-absent", "default").await;
    TestAgent::enrolled(&plane, "d-foreign", "elsewhere").await;
    let mut talk = fine.configuration(Holding::default()).await;
    talk.apply().await;
    let mut refusing = picky.configuration(Holding::default()).await;
    let (_, nonce) = refusing.take().await;
    refusing.refuse(nonce, &source.id, None).await;
    let subject = Subject {
        pools: vec!["default".to_owned()],
        resources: vec![("source", source.id.clone())],
        revision: source.revision,
    };
    within("each is told apart", async {
        loop {
            let found = plane.fleet.conditions(&subject).await.expect("agents");
            let names: Vec<_> = found.iter().map(|one| one.agent.name.as_str()).collect();
            assert_eq!(names, ["a-fine", "b-picky", "c-absent"], "of the pool only");
            let connected: Vec<_> = found.iter().map(|one| one.connected).collect();
            assert_eq!(connected, [true, true, false]);
            let told = found.iter().map(|one| match &one.stand {
                Stand::Refused { reason, .. } => format!("refused {reason}"),
                other => format!("{other:?}"),
            });
            let told: Vec<_> = told.collect();
            if told == ["Applied", "refused secret_invalid", "Pending"] {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_refused_version_is_not_sent_again_by_a_restarted_control_plane() {
    let plane = Plane::start().await;
    let bad = plane.source("bad", "default").await;
    let good = plane.source("good", "default").await;
    let agent = TestAgent::enrolled(&plane, "edge-1", "default").await;
    let mut talk = agent.configuration(Holding::default()).await;
    let (_, nonce) = talk.take().await;
    talk.refuse(nonce, &bad.id, None).await;
    plane
        .shows(&agent.id, "the refusal", |agent| !agent.refused.is_empty())
        .await;
    let held = talk.held.clone();
    let plane = plane.restart().await;
    let mut talk = agent.dialling(&plane).configuration(held).await;
    assert_eq!(talk.apply().await, Got::Current, "it has what it can have");
    plane.touch(&good, "changed").await;
    let got = talk.apply().await;
    assert_eq!(got, Got::Delta(vec![good.id], Vec::new()));
}
