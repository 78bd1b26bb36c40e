//! Enrolment: the token for an identity, once and again.

use tonic::Code;

use crate::agent::{Holding, TestAgent, application, enrol};
use crate::plane::Plane;

#[tokio::test]
async fn an_agent_gets_the_same_identity_however_often_it_asks() {
    let plane = Plane::start().await;
    let request = || application("edge-1", "default", "hpa_one");
    let first = enrol(&plane, request()).await.expect("enrolled");
    let again = enrol(&plane, request()).await.expect("enrolled again");
    assert_eq!(first, again);
    assert_eq!(first.store, 1, "store numbers start at 1");
    assert!(first.agent_id.starts_with("agt_"), "{}", first.agent_id);
    let other = enrol(&plane, application("edge-2", "default", "hpa_two")).await;
    assert_eq!(other.expect("enrolled").store, 2);
    let plane = plane.restart().await;
    let later = enrol(&plane, request()).await.expect("enrolled again");
    assert_eq!(first, later, "a restart changes no identity");
}

#[tokio::test]
async fn a_store_that_has_a_number_gets_it_again_unless_another_agent_has_it() {
    let plane = Plane::start().await;
    let numbered = |name: &str, credential: &str, store| {
        let mut request = application(name, "default", credential);
        request.store = store;
        request
    };
    let known = enrol(&plane, numbered("edge-1", "hpa_one", 7)).await;
    assert_eq!(known.expect("enrolled").store, 7);
    let taken = enrol(&plane, numbered("edge-2", "hpa_two", 7)).await;
    assert_eq!(taken.expect("enrolled").store, 8);
}

#[tokio::test]
async fn agents_that_enrol_at_once_get_stores_of_their_own() {
    let plane = Plane::start().await;
    let enrolments = (0..16).map(|number| {
        let credential = format!("hpa_{number}");
        let request = application(&format!("edge-{number}"), "default", &credential);
        enrol(&plane, request)
    });
    let answers = futures::future::join_all(enrolments).await;
    let mut stores: Vec<u32> = answers
        .into_iter()
        .map(|answer| answer.expect("enrolled").store)
        .collect();
    stores.sort_unstable();
    assert_eq!(stores, (1..=16).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_taken_name_a_taken_credential_and_a_wrong_token_are_refused() {
    let plane = Plane::start().await;
    let request = |name: &str, pool: &str, credential: &str| application(name, pool, credential);
    enrol(&plane, request("edge-1", "default", "hpa_one"))
        .await
        .expect("enrolled");
    let cases = [
        (request("edge-1", "default", "hpa_two"), Code::AlreadyExists),
        (request("edge-9", "default", "hpa_one"), Code::AlreadyExists),
        (request("edge-1", "other", "hpa_one"), Code::AlreadyExists),
        (request("", "default", "hpa_three"), Code::InvalidArgument),
        (
            request("edge-3", "no pool", "hpa_three"),
            Code::InvalidArgument,
        ),
    ];
    for (request, code) in cases {
        let (name, pool) = (request.name.clone(), request.pool.clone());
        let refused = enrol(&plane, request).await.expect_err("refused");
        assert_eq!(refused.code(), code, "{name} of {pool}: {refused:?}");
    }
    for token in ["", "hpj_of-the-test", "hpj_of-the-tests "] {
        let mut request = request("edge-4", "default", "hpa_four");
        request.join_token = token.to_owned();
        let refused = enrol(&plane, request).await.expect_err("refused");
        assert_eq!(refused.code(), Code::Unauthenticated, "{token:?}");
    }
    let mut short = request("edge-5", "default", "hpa_five");
    short.credential_hash.truncate(63);
    let refused = enrol(&plane, short).await.expect_err("refused");
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_stream_needs_a_credential_that_is_known() {
    let plane = Plane::start().await;
    let mut agent = TestAgent::enrolled(&plane, "edge-1", "default").await;
    agent.configuration(Holding::default()).await.take().await;
    for credential in ["hpa_unknown", &plane.api_key, ""] {
        agent.credential = credential.to_owned();
        let bearer = crate::plane::Bearer(agent.credential.clone());
        let mut client =
            hookplane_proto::agent::v1::report_service_client::ReportServiceClient::with_interceptor(
                plane.channel(),
                bearer,
            );
        let refused = client.stream(futures::stream::empty()).await;
        let refused = refused.expect_err("a stream without an identity");
        assert_eq!(refused.code(), Code::Unauthenticated, "{credential:?}");
    }
}
