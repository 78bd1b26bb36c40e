//! Agents of the minor release before: served, and nothing they cannot do is passed over.

use hookplane_proto::v1;
use hookplane_proto::v1::ConfigState;

use crate::agent::{Got, Holding, TestAgent};
use crate::evidence::Holder;
use crate::plane::Plane;

const RATE_LIMIT: &str = "destination_rate_limit";

#[tokio::test]
async fn what_an_older_agent_does_not_know_is_shown_as_unsupported_and_not_sent() {
    let plane = Plane::start().await;
    let source = plane.source("ours", "default").await;
    let (limited, _) = plane.connect_limited(&source, "limited", 5).await;
    let (plain, _) = plane.connect(&source, "plain").await;
    let old = TestAgent::enrolled(&plane, "edge-1", "default").await;
    let new = TestAgent::enrolled(&plane, "edge-2", "default").await;
    let mut of_old = old.configuration(Holding::default()).await;
    let mut of_new = new.capable(Holding::default(), &[RATE_LIMIT]).await;
    of_new.apply().await;
    assert_eq!(of_new.held.resources.len(), 3, "the newer one has it all");
    of_old.apply().await;
    let has = |talk: &crate::agent::Talk, id: &str| {
        let held = talk.held.resources.keys();
        held.map(|(_, id)| id.clone()).any(|held| held == id)
    };
    assert!(has(&of_old, &plain.id) && has(&of_old, &source.id));
    assert!(
        !has(&of_old, &limited.id),
        "it would deliver without the limit"
    );
    let shown = plane
        .shows(&old.id, "what it cannot do", |agent| {
            !agent.refused.is_empty()
        })
        .await;
    assert_eq!(shown.config_state(), ConfigState::Refused);
    let refused = &shown.refused[0];
    assert_eq!(
        (&refused.id, refused.reason.as_str()),
        (&limited.id, "unsupported")
    );
    assert!(refused.message.contains(RATE_LIMIT), "{}", refused.message);
    let shown = plane.shown(&new.id).await;
    assert_eq!(shown.capabilities, [RATE_LIMIT]);
    assert!(shown.refused.is_empty());

    let held = of_old.held.clone();
    drop(of_old);
    let mut of_old = old.configuration(held).await;
    assert_eq!(
        of_old.apply().await,
        Got::Current,
        "it has what it can have"
    );
    plane.limit(&limited, 0).await;
    let got = of_old.apply().await;
    assert_eq!(got, Got::Delta(vec![limited.id.clone()], Vec::new()));
    plane
        .shows(&old.id, "nothing it cannot do", |agent| {
            agent.refused.is_empty()
        })
        .await;
}

#[tokio::test]
async fn an_older_agent_keeps_what_it_had_of_what_it_cannot_follow() {
    let plane = Plane::start().await;
    let source = plane.source("ours", "default").await;
    let (to, _) = plane.connect(&source, "billing").await;
    let agent = TestAgent::enrolled(&plane, "edge-1", "default").await;
    let mut talk = agent.configuration(Holding::default()).await;
    talk.apply().await;
    let before = talk.held.resources[&("destination", to.id.clone())].clone();
    plane.limit(&to, 5).await;
    assert_eq!(talk.apply().await, Got::Delta(Vec::new(), Vec::new()));
    assert_eq!(talk.held.resources[&("destination", to.id.clone())], before);
    let head = plane.config.head().await.expect("a head").revision;
    let shown = plane
        .shows(&agent.id, "the revision", |agent| agent.revision == head)
        .await;
    assert_eq!(shown.refused.len(), 1, "{shown:?}");
    // Upgraded, it gets what it lacked.
    let held = talk.held.clone();
    drop(talk);
    let mut talk = agent.capable(held, &[RATE_LIMIT]).await;
    assert_eq!(talk.apply().await, Got::Delta(vec![to.id], Vec::new()));
    plane
        .shows(&agent.id, "all of it", |agent| agent.refused.is_empty())
        .await;
}

#[tokio::test]
async fn an_agent_that_cannot_search_is_named_and_not_asked() {
    let plane = Plane::start().await;
    let old = Holder::of(&plane, "old", &[]).await;
    let new = TestAgent::enrolled(&plane, "new", "default").await;
    let _talk = new.capable(Holding::default(), &["search"]).await;
    let known = |agent: &v1::Agent| agent.capabilities == ["search"];
    plane.shows(&new.id, "its capability is known", known).await;
    let asked = v1::ListRequestsRequest {
        q: "needle".to_owned(),
        ..v1::ListRequestsRequest::default()
    };
    let found = plane.requests().list_requests(asked).await;
    let found = found.expect("an answer").into_inner();
    assert!(found.partial);
    let why = |name: &str| {
        let one = found.unreachable.iter().find(|one| one.name == name);
        one.expect("it is named").reason.clone()
    };
    assert_eq!(why("old"), "its release does not have `search`");
    assert_eq!(why("new"), "it is not connected", "it would be asked");
    drop(old);
}
