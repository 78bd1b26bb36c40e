//! Who may be an agent: tokens that one agent uses once, and revocation.

use std::time::Duration;

use hookplane_control_plane::store::AuditFilter;
use hookplane_proto::agent::v1::EnrollRequest;
use hookplane_proto::v1::{
    AgentState, AgentToken, AgentTokenStatus, CreateAgentTokenRequest, ListAgentTokensRequest,
    RevokeAgentRequest, RevokeAgentTokenRequest,
};
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::agent::{Holding, TestAgent, application, enrol};
use crate::plane::{Bearer, Plane, within};

async fn token(plane: &Plane, pool: &str, valid_seconds: u32) -> AgentToken {
    let asked = CreateAgentTokenRequest {
        name: "of the test".to_owned(),
        pool: pool.to_owned(),
        valid_seconds,
    };
    let made = plane.access().create_agent_token(asked).await;
    made.expect("a token").into_inner()
}

async fn listed(plane: &Plane) -> Vec<AgentToken> {
    let asked = ListAgentTokensRequest::default();
    let found = plane.access().list_agent_tokens(asked).await;
    found.expect("tokens").into_inner().models
}

fn with(token: &AgentToken, name: &str, pool: &str) -> EnrollRequest {
    EnrollRequest {
        join_token: token.token.clone(),
        ..application(name, pool, &format!("hpa_{name}"))
    }
}

fn reason(status: &tonic::Status) -> String {
    let info = status.get_details_error_info();
    info.expect("a reason").reason
}

async fn recorded(plane: &Plane) -> Vec<(String, String)> {
    let ledger = plane.config.ledger();
    let any = AuditFilter::default();
    let entries = ledger.list(&plane.team, &any, None, 100);
    let entries = entries.await.expect("a record");
    let agents = entries
        .into_iter()
        .filter(|one| one.kind.starts_with("agent"));
    agents.map(|one| (one.action, one.id)).collect()
}

#[tokio::test]
async fn a_token_makes_one_agent_of_its_pool_and_is_not_shown_again() {
    let plane = Plane::start().await;
    let made = token(&plane, "edge", 0).await;
    assert!(made.token.starts_with("hpe_"), "a token shows what it is");
    let hour = made.expires_at.unwrap().seconds - made.created_at.unwrap().seconds;
    assert_eq!(hour, 3_600, "an hour when nothing is said");
    let refused = enrol(&plane, with(&made, "edge-1", "default")).await;
    let refused = refused.expect_err("another pool");
    assert_eq!(reason(&refused), "AGENT_TOKEN_OTHER_POOL");
    let first = enrol(&plane, with(&made, "edge-1", "edge")).await;
    let first = first.expect("an agent");
    let again = enrol(&plane, with(&made, "edge-1", "edge")).await;
    assert_eq!(again.expect("its answer once more"), first);
    let second = enrol(&plane, with(&made, "edge-2", "edge")).await;
    let second = second.expect_err("a used token");
    assert_eq!(second.code(), Code::Unauthenticated);
    assert_eq!(reason(&second), "AGENT_TOKEN_USED");
    let shown = listed(&plane).await.remove(0);
    assert_eq!(shown.status(), AgentTokenStatus::Used);
    assert_eq!(shown.used_by_agent_id, first.agent_id);
    assert_eq!(shown.token, "", "the secret is shown once");
    let expected = vec![
        ("create".to_owned(), first.agent_id),
        ("create".to_owned(), made.id),
    ];
    assert_eq!(recorded(&plane).await, expected, "newest first");
}

#[tokio::test]
async fn of_agents_that_spend_a_token_at_once_one_gets_in() {
    let plane = Plane::start().await;
    let made = token(&plane, "default", 60).await;
    let names: Vec<String> = (0..8).map(|number| format!("edge-{number}")).collect();
    let tries = names
        .iter()
        .map(|name| enrol(&plane, with(&made, name, "default")));
    let outcomes = futures::future::join_all(tries).await;
    let (in_, out): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!(in_.len(), 1, "one token, one agent");
    for refused in out {
        assert_eq!(reason(&refused.unwrap_err()), "AGENT_TOKEN_USED");
    }
}

#[tokio::test]
async fn a_token_that_ended_was_revoked_or_never_was_opens_nothing() {
    let plane = Plane::start().await;
    let short = token(&plane, "default", 60).await;
    let long = token(&plane, "default", 604_800).await;
    plane.clock.advance(Duration::from_secs(60));
    let late = enrol(&plane, with(&short, "edge-1", "default")).await;
    assert_eq!(reason(&late.unwrap_err()), "AGENT_TOKEN_EXPIRED");
    let id = long.id.clone();
    let mut api = plane.access();
    let ended = api.revoke_agent_token(RevokeAgentTokenRequest { id }).await;
    let ended = ended.expect("a revoked token").into_inner();
    assert_eq!(ended.status(), AgentTokenStatus::Revoked);
    let late = enrol(&plane, with(&long, "edge-1", "default")).await;
    assert_eq!(reason(&late.unwrap_err()), "AGENT_TOKEN_REVOKED");
    let strange = AgentToken {
        token: format!("hpe_{}", "0".repeat(64)),
        ..AgentToken::default()
    };
    let strange = enrol(&plane, with(&strange, "edge-1", "default")).await;
    assert_eq!(reason(&strange.unwrap_err()), "AGENT_TOKEN_UNKNOWN");
    for valid_seconds in [59, 604_801] {
        let asked = CreateAgentTokenRequest {
            name: "too long or too short".to_owned(),
            valid_seconds,
            ..CreateAgentTokenRequest::default()
        };
        let refused = plane.access().create_agent_token(asked).await;
        assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
    }
    let id = "aet_00000000000000000000000000".to_owned();
    let none = api.revoke_agent_token(RevokeAgentTokenRequest { id }).await;
    assert_eq!(none.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_revoked_agent_loses_its_streams_and_never_gets_in_again() {
    let plane = Plane::start().await;
    let made = token(&plane, "default", 0).await;
    let gone = TestAgent::enrolled(&plane, "edge-1", "default").await;
    let stays = TestAgent::enrolled(&plane, "edge-2", "default").await;
    let mut talk = gone.configuration(Holding::default()).await;
    talk.apply().await;
    let (_say, mut commands) = gone.commands().await;
    let mut other = stays.configuration(Holding::default()).await;
    other.apply().await;

    let id = gone.id.clone();
    let revoked = plane.access().revoke_agent(RevokeAgentRequest { id }).await;
    let revoked = revoked.expect("a revoked agent").into_inner();
    assert_eq!(revoked.state(), AgentState::Revoked);
    let ending = talk.ending().await;
    assert_eq!(ending.code(), Code::PermissionDenied, "{ending:?}");
    assert_eq!(reason(&ending), "AGENT_REVOKED");
    let ending = within("the commands end", async {
        loop {
            match commands.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the stream ends without a reason"),
                Err(status) => return status,
            }
        }
    })
    .await;
    assert_eq!(reason(&ending), "AGENT_REVOKED");

    let bearer = Bearer(gone.credential.clone());
    let mut reports =
        hookplane_proto::agent::v1::report_service_client::ReportServiceClient::with_interceptor(
            plane.channel(),
            bearer,
        );
    let refused = reports.stream(futures::stream::empty()).await;
    assert_eq!(reason(&refused.unwrap_err()), "AGENT_REVOKED");
    let again = enrol(&plane, application("edge-1", "default", "hpa_edge-1")).await;
    assert_eq!(reason(&again.unwrap_err()), "AGENT_REVOKED");
    let again = enrol(&plane, with(&made, "edge-1", "default")).await;
    assert_eq!(reason(&again.unwrap_err()), "AGENT_REVOKED");
    let id = gone.id.clone();
    let twice = plane.access().revoke_agent(RevokeAgentRequest { id }).await;
    let twice = twice.expect("a revoked agent").into_inner();
    assert_eq!(twice.revoked_at, revoked.revoked_at, "once is enough");
    let acts = recorded(&plane).await;
    let revocations = acts.iter().filter(|one| one.0 == "revoke").count();
    assert_eq!(revocations, 1, "{acts:?}");

    // The token is still there, and the name is free for the host that comes back.
    let fresh = EnrollRequest {
        join_token: made.token.clone(),
        ..application("edge-1", "default", "hpa_new")
    };
    let fresh = enrol(&plane, fresh).await.expect("a new agent");
    assert_ne!(fresh.agent_id, gone.id);
    plane.source("after", "default").await;
    other.apply().await;
}
