//! Certificates of agents over real TLS: given, demanded, ended, and their authorities exchanged.

use std::time::Duration;

use hookplane_control_plane::settings::AgentCertificates::{Given, Off, Required};
use hookplane_proto::v1::{
    AgentAuthority, AgentAuthorityStatus, ListAgentAuthoritiesRequest, RevokeAgentRequest,
    RewrapSecretsRequest, RotateAgentAuthorityRequest,
};
use rcgen::{CertificateParams, KeyPair};
use sea_orm::{ConnectionTrait as _, Statement};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::secure::{LIFE, Secure, request_by};

fn reason(status: &Status) -> String {
    let info = status.get_details_error_info();
    info.unwrap_or_else(|| panic!("no reason: {status:?}"))
        .reason
}

fn why<T>(outcome: Result<T, Status>) -> String {
    reason(&outcome.err().expect("it is refused"))
}

async fn authorities(plane: &Secure) -> Vec<AgentAuthority> {
    let asked = ListAgentAuthoritiesRequest::default();
    let found = plane.access().list_agent_authorities(asked).await;
    found.expect("authorities").into_inner().models
}

async fn rotate(plane: &Secure, overlap_seconds: Option<u32>) -> Result<AgentAuthority, Status> {
    let asked = RotateAgentAuthorityRequest { overlap_seconds };
    let made = plane.access().rotate_agent_authority(asked).await;
    made.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn an_agent_that_has_a_certificate_is_let_in_with_it_and_with_nothing_less() {
    let plane = Secure::start(Given).await;
    let mut agent = plane.enrolled("edge-1").await;
    agent.calls(&plane).await.expect("it has none yet");
    let answer = agent.certify(&plane).await.expect("a certificate");
    assert_eq!(u64::from(answer.valid_seconds), LIFE.as_secs());
    agent.calls(&plane).await.expect("it shows its certificate");
    let bare = agent.calls_with(&plane, None).await;
    assert_eq!(why(bare), "AGENT_CERTIFICATE_MISSING");

    let other = plane.certified("edge-2").await;
    let of_other = other.certificate.as_deref().map(|pem| (pem, &other.key));
    let borrowed = agent.calls_with(&plane, of_other).await;
    assert_eq!(why(borrowed), "AGENT_CERTIFICATE_FOREIGN");

    let key = KeyPair::generate().expect("a key");
    let own = CertificateParams::new(vec!["edge-1".to_owned()]).expect("parameters");
    let own = own.self_signed(&key).expect("a certificate").pem();
    let made_up = agent.calls_with(&plane, Some((&own, &key))).await;
    let made_up = made_up.err().expect("it is refused");
    assert_eq!(reason(&made_up), "AGENT_CERTIFICATE_UNTRUSTED");
    assert_eq!(made_up.code(), Code::PermissionDenied, "or it enrols again");
    plane.stop().await;
}

#[tokio::test]
async fn only_the_key_of_the_first_request_gets_further_certificates() {
    let plane = Secure::start(Given).await;
    let mut agent = plane.certified("edge-1").await;
    let thief = KeyPair::generate().expect("a key");
    let refused = agent.ask(&plane, request_by(&thief)).await;
    assert_eq!(why(refused), "AGENT_KEY_DIFFERS");
    let mut bent = request_by(&agent.key);
    let last = bent.len() - 1;
    bent[last] ^= 1;
    let odd = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).expect("a key");
    for wrong in [Vec::new(), vec![0; 9_000], bent, request_by(&odd)] {
        let refused = agent.ask(&plane, wrong).await.expect_err("no request");
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    }
    agent.certify(&plane).await.expect("its own key again");
    agent.calls(&plane).await.expect("it works");
    plane.stop().await;
}

#[tokio::test]
async fn a_certificate_ends_with_its_streams_and_another_one_is_given_without_it() {
    let plane = Secure::start(Given).await;
    let mut agent = plane.certified("edge-1").await;
    plane.clock.advance(LIFE - Duration::from_secs(1));
    let open = agent.calls(&plane).await.expect("it is valid still");
    plane.clock.advance(Duration::from_secs(1));
    assert_eq!(reason(&open.end().await), "AGENT_CERTIFICATE_EXPIRED");
    assert_eq!(why(agent.calls(&plane).await), "AGENT_CERTIFICATE_EXPIRED");
    agent.certify(&plane).await.expect("it was away for long");
    agent.calls(&plane).await.expect("a fresh one");
    plane.stop().await;
}

#[tokio::test]
async fn a_revoked_agent_is_refused_with_a_valid_certificate_and_gets_no_other() {
    let plane = Secure::start(Given).await;
    let mut agent = plane.certified("edge-1").await;
    let open = agent.calls(&plane).await.expect("it is let in");
    let id = agent.id.clone();
    let revoked = plane.access().revoke_agent(RevokeAgentRequest { id }).await;
    let revoked = revoked.expect("it is revoked").into_inner();
    assert!(revoked.certificate_expires_at.is_some(), "{revoked:?}");
    assert_eq!(reason(&open.end().await), "AGENT_REVOKED");
    assert_eq!(why(agent.calls(&plane).await), "AGENT_REVOKED");
    assert_eq!(why(agent.certify(&plane).await), "AGENT_REVOKED");
    plane.stop().await;
}

#[tokio::test]
async fn where_certificates_are_required_nobody_comes_in_without_and_where_off_nobody_gets_one() {
    let plane = Secure::start(Required).await;
    let mut agent = plane.enrolled("edge-1").await;
    assert_eq!(why(agent.calls(&plane).await), "AGENT_CERTIFICATE_MISSING");
    agent.certify(&plane).await.expect("its first one");
    agent.calls(&plane).await.expect("it shows it");
    plane.stop().await;
    let plane = Secure::start(Off).await;
    let mut agent = plane.enrolled("edge-1").await;
    let none = agent.certify(&plane).await.expect_err("none is given");
    assert_eq!(none.code(), Code::Unimplemented);
    agent.calls(&plane).await.expect("none is asked for");
    plane.stop().await;
}

#[tokio::test]
async fn agents_that_ask_replicas_at_once_are_signed_by_one_authority_that_all_replicas_trust() {
    let first = Secure::start(Given).await;
    let second = first.beside().await;
    let mut agents = Vec::new();
    for number in 0..6 {
        agents.push(first.enrolled(&format!("edge-{number}")).await);
    }
    let planes = [&first, &second];
    let asked = agents.iter_mut().enumerate().map(async |(number, agent)| {
        let certified = agent.certify(planes[number % 2]).await;
        certified.expect("a certificate");
        agent.calls(planes[(number + 1) % 2]).await
    });
    for opened in futures::future::join_all(asked).await {
        opened.expect("the other replica trusts it");
    }
    assert_eq!(authorities(&second).await.len(), 1);
    second.stop().await;
    first.stop().await;
}

#[tokio::test]
async fn a_new_authority_signs_at_once_and_the_old_one_is_trusted_for_the_overlap() {
    let plane = Secure::start(Given).await;
    let second = plane.beside().await;
    let mut agent = plane.certified("edge-1").await;
    let made = rotate(&plane, Some(60)).await.expect("a new authority");
    assert_eq!(made.status(), AgentAuthorityStatus::Signing);
    let shown = authorities(&plane).await;
    let states: Vec<_> = shown.iter().map(AgentAuthority::status).collect();
    let expected = [AgentAuthorityStatus::Signing, AgentAuthorityStatus::Trusted];
    let signing = shown.iter().find(|one| one.id == made.id);
    assert_eq!(signing.map(AgentAuthority::status), Some(expected[0]));
    assert!(
        states.contains(&expected[1]) && states.len() == 2,
        "{states:?}"
    );
    agent.calls(&second).await.expect("the overlap");
    let fresh = second.certified("edge-2").await;
    plane.clock.advance(Duration::from_secs(60));
    assert_eq!(
        why(agent.calls(&second).await),
        "AGENT_CERTIFICATE_UNTRUSTED"
    );
    fresh.calls(&plane).await.expect("the new one signed it");
    agent.certify(&plane).await.expect("the same key");
    agent
        .calls(&second)
        .await
        .expect("the new one signed it, too");

    rotate(&plane, Some(0)).await.expect("a third one");
    assert_eq!(
        why(fresh.calls(&plane).await),
        "AGENT_CERTIFICATE_UNTRUSTED"
    );
    for _ in 0..7 {
        rotate(&plane, None).await.expect("there is room");
    }
    assert_eq!(why(rotate(&plane, None).await), "TOO_MANY_AUTHORITIES");
    let long = rotate(&plane, Some(2_592_001)).await.expect_err("too long");
    assert_eq!(long.code(), Code::InvalidArgument);
    rotate(&plane, Some(0)).await.expect("nothing else stays");
    second.stop().await;
    plane.stop().await;
}

#[tokio::test]
async fn the_key_of_an_authority_is_sealed_in_the_database_and_sealed_anew_with_the_others() {
    let plane = Secure::start(Given).await;
    plane.certified("edge-1").await;
    let database = sea_orm::Database::connect(&plane.url).await.expect("it");
    let select = "SELECT private_key FROM agent_authorities".to_owned();
    let select = Statement::from_string(database.get_database_backend(), select);
    let row = database.query_one_raw(select).await.expect("an answer");
    let sealed: Vec<u8> = row
        .expect("a row")
        .try_get("", "private_key")
        .expect("bytes");
    let shows = sealed.windows(11).any(|part| part == b"PRIVATE KEY");
    assert!(!shows && !sealed.is_empty(), "the key can be read at rest");
    let mut asked = RewrapSecretsRequest {
        reencrypt: true,
        ..RewrapSecretsRequest::default()
    };
    let mut changed = 0;
    loop {
        let step = plane.installation().rewrap_secrets(asked.clone()).await;
        let step = step.expect("a step").into_inner();
        changed += step.changed;
        asked.page_token = step.next;
        if asked.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(
        changed, 2,
        "the key of the audit record, and the authority's"
    );
    plane.certified("edge-2").await;
    assert_eq!(authorities(&plane).await.len(), 1, "it signs still");
    plane.stop().await;
}
