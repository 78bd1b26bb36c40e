//! How an agent gets its identity, keeps it, and gets it back.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tonic::transport::Identity;

use crate::control_plane::{ControlPlane, Known};
use crate::world::*;

#[tokio::test]
async fn a_wrong_join_token_is_told_and_a_corrected_file_is_enough() {
    let (place, known) = (Place::new(), Known::default());
    let mut control_plane = ControlPlane::start(&known, TOKEN).await;
    std::fs::write(place.token_file(), "wrong").unwrap();
    let agent = place.run(&control_plane).await;
    let told = agent
        .readiness(|told| reasons(told).contains(&"join_token_refused"))
        .await;
    assert_eq!(told["ready"], false);
    assert_eq!(agent.post("src_1", "{}").await.0, 503);
    std::fs::write(place.token_file(), TOKEN).unwrap();
    control_plane.configuration().await;
    let told = agent
        .readiness(|told| !reasons(told).contains(&"join_token_refused"))
        .await;
    assert_eq!(reasons(&told), ["no_configuration"]);
    agent.stop().await;
}

#[tokio::test]
async fn without_a_join_token_the_agent_says_so() {
    let (place, known) = (Place::new(), Known::default());
    let control_plane = ControlPlane::start(&known, TOKEN).await;
    let mut settings = place.settings(&control_plane.url());
    settings.join_token_file = None;
    let agent = Running::start(settings).await;
    agent
        .readiness(|told| reasons(told).contains(&"join_token_missing"))
        .await;
    agent.stop().await;
}

#[tokio::test]
async fn the_credential_stays_the_same_over_restarts_and_rebuilt_databases() {
    let (place, known) = (Place::new(), Known::default());
    let mut control_plane = ControlPlane::start(&known, TOKEN).await;
    let agent = place.run(&control_plane).await;
    control_plane.configuration().await;
    agent.stop().await;
    assert_eq!(known.enrolments().len(), 1);

    // Known: no second enrolment, even without the token.
    std::fs::write(place.token_file(), "").unwrap();
    let agent = place.run(&control_plane).await;
    let conversation = control_plane.configuration().await;
    assert_eq!(known.enrolments().len(), 1);

    // The database is rebuilt: the same credential knocks again.
    std::fs::write(place.token_file(), TOKEN).unwrap();
    known.forget_everybody();
    drop(conversation);
    control_plane.configuration().await;
    let enrolments = known.enrolments();
    assert_eq!(enrolments.len(), 2);
    assert_eq!(enrolments[0].credential_hash, enrolments[1].credential_hash);
    assert_eq!(
        (enrolments[1].name.as_str(), enrolments[1].pool.as_str()),
        ("agent-1", "default")
    );
    agent.stop().await;
}

/// A certificate for 127.0.0.1 and the authority that signed it, as PEM.
fn certificate() -> (Identity, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(vec!["127.0.0.1".to_owned()])
        .unwrap()
        .signed_by(&key, &authority)
        .unwrap();
    let identity = Identity::from_pem(server.pem(), key.serialize_pem());
    (identity, authority.pem())
}

#[tokio::test]
async fn only_the_named_authority_is_trusted() {
    let (place, known) = (Place::new(), Known::default());
    let (identity, authority) = certificate();
    let (_, other) = certificate();
    let mut control_plane = ControlPlane::start_with_tls(&known, TOKEN, identity).await;
    let file = place.token_file().with_file_name("ca.pem");
    let mut settings = place.settings(&format!("https://{}", control_plane.address));
    settings.control_plane_ca = Some(file.clone());

    std::fs::write(&file, other).unwrap();
    let agent = Running::start(settings.clone()).await;
    let told = agent
        .readiness(|told| reasons(told).contains(&"control_plane_unreachable"))
        .await;
    let message = told["reasons"][0]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("certificate"), "{message}");
    assert!(
        known.enrolments().is_empty(),
        "the join token went to a stranger"
    );
    agent.stop().await;

    std::fs::write(&file, authority).unwrap();
    let agent = Running::start(settings).await;
    control_plane.configuration().await;
    agent.stop().await;
}
