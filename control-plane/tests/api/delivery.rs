//! What holds deliveries back and what proves them: taken, kept, shown, refused.

use hookplane_proto::v1;
use hookplane_proto::v1::destination_auth::Scheme;
use hookplane_proto::v1::rule::Rule;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use super::plane::{Plane, clerk, connection, destination};
use super::refusals::assert_refuses;

const OLD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEW: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

fn proven_by(scheme: Scheme) -> v1::Destination {
    let mut wanted = destination("users");
    wanted.config.get_or_insert_default().auth = Some(v1::DestinationAuth {
        scheme: Some(scheme),
    });
    wanted
}

async fn create(plane: &Plane, wanted: v1::Destination) -> Result<v1::Destination, tonic::Status> {
    let asked = v1::CreateDestinationRequest {
        destination: Some(wanted),
        ..v1::CreateDestinationRequest::default()
    };
    let made = plane.destinations().create_destination(asked).await?;
    Ok(made.into_inner())
}

fn scheme_of(destination: &v1::Destination) -> Scheme {
    let auth = destination.config.clone().and_then(|config| config.auth);
    auth.and_then(|auth| auth.scheme).expect("it has one")
}

fn standard(secrets: &[&str]) -> Scheme {
    Scheme::StandardWebhooks(v1::StandardWebhooksSignature {
        secrets: secrets.iter().map(|secret| (*secret).to_owned()).collect(),
    })
}

fn client(token_url: &str) -> Scheme {
    Scheme::Oauth2ClientCredentials(v1::Oauth2ClientCredentials {
        token_url: token_url.to_owned(),
        client_id: "c".to_owned(),
        client_secret: "the client's secret".to_owned(),
        client_authentication: v1::ClientAuthentication::Body.into(),
        ..v1::Oauth2ClientCredentials::default()
    })
}

fn certificate(ends_in: i32) -> v1::ClientCertificate {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec!["client.test".to_owned()]).expect("a name");
    params.not_after = date_time_ymd(ends_in, 1, 1);
    v1::ClientCertificate {
        certificate: params.self_signed(&key).expect("a certificate").pem(),
        private_key: key.serialize_pem(),
        ..v1::ClientCertificate::default()
    }
}

#[tokio::test]
async fn a_list_of_delays_and_a_rate_are_kept_as_written() {
    let plane = Plane::on_sqlite().await;
    let source = plane.create_source(clerk("Clerk")).await.expect("right");
    let mut wanted = destination("users");
    let config = wanted.config.get_or_insert_default();
    (config.rate_limit, config.rate_limit_period) = (30, v1::RateLimitPeriod::Minute.into());
    let to = create(&plane, wanted).await.expect("it is right");
    let config = to.config.clone().expect("a config");
    assert_eq!(
        (config.rate_limit, config.rate_limit_period()),
        (30, v1::RateLimitPeriod::Minute)
    );
    let rule = v1::RetryRule {
        strategy: v1::RetryStrategy::List.into(),
        delays: vec![1_000, 60_000],
        give_up_status_codes: vec!["422".to_owned()],
        jitter_percent: Some(0),
        ..v1::RetryRule::default()
    };
    let wanted = v1::Connection {
        rules: vec![v1::Rule {
            rule: Some(Rule::Retry(rule.clone())),
        }],
        ..connection("users", &source.id, &to.id)
    };
    let asked = v1::CreateConnectionRequest {
        connection: Some(wanted),
        ..v1::CreateConnectionRequest::default()
    };
    let made = plane.connections().create_connection(asked).await;
    let made = made.expect("it is right").into_inner();
    assert_eq!(made.rules[0].rule, Some(Rule::Retry(rule)));
}

#[tokio::test]
async fn several_secrets_are_redacted_restored_and_turned_over() {
    let plane = Plane::on_sqlite().await;
    let made = create(&plane, proven_by(standard(&[OLD]))).await;
    let made = made.expect("it is right");
    assert_eq!(scheme_of(&made), standard(&["whsec_••••••••LaSw"]));
    let mut changed = made.clone();
    changed.config.get_or_insert_default().auth = Some(v1::DestinationAuth {
        scheme: Some(standard(&[NEW, "whsec_••••••••LaSw"])),
    });
    let asked = v1::ReplaceDestinationRequest {
        id: made.id.clone(),
        destination: Some(changed),
        ..v1::ReplaceDestinationRequest::default()
    };
    let turned = plane.destinations().replace_destination(asked).await;
    assert_eq!(
        scheme_of(&turned.expect("it is right").into_inner()),
        standard(&["whsec_••••••••b7oD", "whsec_••••••••LaSw"])
    );
}

#[tokio::test]
async fn clients_and_certificates_show_everything_but_their_secret() {
    let plane = Plane::on_sqlite().await;
    let made = create(&plane, proven_by(client("https://id.test/token"))).await;
    let Scheme::Oauth2ClientCredentials(shown) = scheme_of(&made.expect("it is right")) else {
        panic!("the kind changed")
    };
    assert_eq!(shown.token_url, "https://id.test/token");
    assert_eq!(shown.client_secret, "••••••••");
    let mut wanted = proven_by(Scheme::ClientCertificate(certificate(2_099)));
    wanted.name = "billing".to_owned();
    let made = create(&plane, wanted).await.expect("it is right");
    let Scheme::ClientCertificate(shown) = scheme_of(&made) else {
        panic!("the kind changed")
    };
    assert!(shown.certificate.starts_with("-----BEGIN CERTIFICATE"));
    assert_eq!(shown.private_key, "••••••••");
    let end = date_time_ymd(2_099, 1, 1).unix_timestamp();
    assert_eq!(shown.expires_at.map(|end| end.seconds), Some(end));
    // What was read can be sent back whole.
    let asked = v1::ReplaceDestinationRequest {
        id: made.id.clone(),
        destination: Some(made.clone()),
        ..v1::ReplaceDestinationRequest::default()
    };
    let again = plane.destinations().replace_destination(asked).await;
    assert_eq!(
        scheme_of(&again.expect("it is right").into_inner()),
        scheme_of(&made)
    );
}

#[tokio::test]
async fn what_agents_could_not_use_is_refused_by_its_field() {
    let plane = Plane::on_sqlite().await;
    let certificate_of = |change: fn(&mut v1::ClientCertificate)| {
        let mut pair = certificate(2_099);
        change(&mut pair);
        proven_by(Scheme::ClientCertificate(pair))
    };
    let mut in_clear = certificate_of(|_| {});
    in_clear.config.get_or_insert_default().url = "http://users.internal/".to_owned();
    let mut greedy = destination("users");
    greedy.config.get_or_insert_default().rate_limit = 1_000_001;
    let cases = [
        (proven_by(standard(&[])), "config.auth.secrets", "1 to 10"),
        (
            proven_by(standard(&[OLD, "sk_test_1"])),
            "config.auth.secrets[1]",
            "API key",
        ),
        (
            proven_by(client("ftp://id.test")),
            "config.auth.token_url",
            "http",
        ),
        (
            certificate_of(|pair| pair.private_key = certificate(2_099).private_key),
            "config.auth.private_key",
            "belong",
        ),
        (
            certificate_of(|pair| *pair = certificate(2_001)),
            "config.auth.certificate",
            "ended",
        ),
        (in_clear, "config.url", "https"),
        (greedy, "config.rate_limit", "1000000"),
    ];
    for (wanted, field, says) in cases {
        let refused = create(&plane, wanted).await.expect_err(field);
        assert_refuses(&refused, field, says);
    }
}
