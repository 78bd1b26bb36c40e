//! Every kind of source, through a real agent: genuine messages in, forged ones out.

use base64::Engine as _;
use hookplane_signature::Provider;
use hookplane_tests::sender::{SECRET, message_id, now};
use hookplane_tests::{Receiver, Source, System};
use http::Method;
use serde_json::{Value, json};

const PLAIN_SECRET: &str = "a secret of the usual length";

#[tokio::test(flavor = "multi_thread")]
async fn every_provider_is_believed_with_its_secret_and_refused_with_another() {
    let system = System::start().await;
    let mut sources = Vec::new();
    for provider in Provider::ALL {
        if provider == Provider::Webhook {
            continue;
        }
        let standard = [Provider::Clerk, Provider::Svix, Provider::StandardWebhooks];
        let secret = if standard.contains(&provider) {
            SECRET
        } else {
            PLAIN_SECRET
        };
        sources.push(system.source(provider.as_str(), provider, secret).await);
    }
    assert_eq!(sources.len(), 7);
    system.settled().await;
    for source in sources {
        let body = r#"{"id":"evt_1","type":"a.b"}"#;
        let genuine = source.send(body).await;
        assert_eq!(genuine.status, 200, "{}: {}", source.provider, genuine.text);
        let mut forger = source.clone();
        forger.secret = match forger.secret.as_str() {
            SECRET => "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD".to_owned(),
            _ => "another secret".to_owned(),
        };
        let forged = forger.send(r#"{"id":"evt_2","type":"a.b"}"#).await;
        assert_eq!(forged.status, 401, "{}: {}", source.provider, forged.text);
        assert_eq!(forged.json["code"], "SOURCE_AUTH_FAILED");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn standard_webhooks_may_be_signed_with_a_public_key() {
    let system = System::start().await;
    let public = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";
    let private = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
    let mut source = system
        .source("keys", Provider::StandardWebhooks, public)
        .await;
    system.settled().await;
    source.secret = private.to_owned();
    let answer = source.send(r#"{"type":"a.b"}"#).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn slack_gets_its_challenge_back() {
    let system = System::start().await;
    let source = system.source("Slack", Provider::Slack, PLAIN_SECRET).await;
    system.settled().await;
    let answer = source
        .send(r#"{"type":"url_verification","challenge":"c-123"}"#)
        .await;
    assert_eq!(
        (answer.status.as_u16(), answer.text.as_str()),
        (200, "c-123")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_source_takes_whatever_proof_it_is_configured_for() {
    let system = System::start().await;
    let create = async |name: &str, config: Value| {
        let wanted = json!({ "name": name, "type": "WEBHOOK", "config": config });
        let made = system.api().post("/v1/sources", wanted).await;
        let id = made["id"].as_str().expect("an id").to_owned();
        Source::new(&id, &system.ingest(0), Provider::Webhook, "")
    };
    let open = create("open", json!({})).await;
    let basic =
        json!({ "auth_type": "BASIC_AUTH", "auth": { "username": "u", "password": "p w" } });
    let basic = create("basic", basic).await;
    let key =
        json!({ "auth_type": "API_KEY", "auth": { "header": "x-api-key", "api_key": "k-1" } });
    let key = create("key", key).await;
    let hmac = json!({ "auth_type": "HMAC", "auth": {
        "signature_header": "x-signature", "secret": PLAIN_SECRET, "algorithm": "sha256",
        "encoding": "hex", "prefix": "sha256=",
    }});
    let hmac = create("hmac", hmac).await;
    system.settled().await;

    let body = r#"{"hello":"world"}"#;
    let post = async |source: &Source, headers: &[(&str, String)]| {
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect();
        source
            .post(Method::POST, "", &headers, body)
            .await
            .status
            .as_u16()
    };
    assert_eq!(post(&open, &[]).await, 200);
    let good = base64::engine::general_purpose::STANDARD.encode("u:p w");
    assert_eq!(
        post(&basic, &[("authorization", format!("Basic {good}"))]).await,
        200
    );
    assert_eq!(post(&basic, &[]).await, 401);
    assert_eq!(post(&key, &[("x-api-key", "k-1".to_owned())]).await, 200);
    assert_eq!(post(&key, &[("x-api-key", "k-2".to_owned())]).await, 401);
    // GitHub signs the same way under another header's name.
    let signed = hookplane_signature::sign(
        Provider::Github,
        PLAIN_SECRET,
        &message_id(),
        now(),
        body.as_bytes(),
    )
    .expect("signed");
    let signature = signed[0].1.clone();
    assert_eq!(post(&hmac, &[("x-signature", signature)]).await, 200);
    assert_eq!(
        post(&hmac, &[("x-signature", "sha256=00".to_owned())]).await,
        401
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn both_secrets_of_a_rotation_verify_and_the_trace_tells_which() {
    let system = System::start().await;
    let receiver = Receiver::start().await;
    let (source, _) = system.clerk_to(&receiver, json!([])).await;
    let next = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    let secrets = json!([next, SECRET]);
    let auth = json!({ "provider": "CLERK", "webhook_signing_secrets": secrets });
    let patch = json!({ "config": { "auth_type": "PROVIDER_SIGNATURE", "auth": auth } });
    let path = format!("/v1/sources/{}", source.id);
    system.api().ok(Method::PATCH, &path, Some(patch)).await;
    system.settled().await;
    for (secret, place) in [(next, "1 of 2"), (SECRET, "2 of 2")] {
        let mut sender = source.clone();
        sender.secret = secret.to_owned();
        let request_id = sender.send(r#"{"type":"user.updated"}"#).await.request_id();
        let got = system
            .api()
            .get(&format!("/v1/requests/{request_id}"))
            .await;
        assert_eq!(got["verified_by"], format!("clerk v1 secret {place}"));
    }
}
