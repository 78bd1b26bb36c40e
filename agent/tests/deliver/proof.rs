//! How deliveries prove who sends them, against receivers that check it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hookplane_agent::config::{ClientCredentials, Destination, DestinationAuth};
use hookplane_agent::store::{AttemptRecord, EventRecord, EventStatus, Store as _};
use hookplane_rules::RetryPolicy;
use hookplane_signature::{AuthSpec, Inbound, Provider, StandardSigner, Verifier};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::receiver::{Act, Receiver, answer};
use crate::world::{LOOPBACK, Running, TEAM, configuration, destination, run};

const OLD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEW: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

fn with(auth: DestinationAuth, id: &str, url: &str) -> Destination {
    Destination {
        auth,
        max_in_flight: 8,
        ..destination(id, url)
    }
}

async fn attempts(running: &Running, event: &EventRecord) -> Vec<AttemptRecord> {
    let history = running
        .store
        .history(TEAM, &event.request_id)
        .await
        .unwrap();
    history.unwrap().attempts
}

#[tokio::test]
async fn a_standard_webhooks_signature_is_believed_with_either_secret() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(vec![answer(500), answer(200)]).await;
    let signer = StandardSigner::new(&[NEW.into(), OLD.into()]).unwrap();
    let to = with(
        DestinationAuth::StandardWebhooks(Arc::new(signer)),
        "des_1",
        &receiver.url,
    );
    let retry = RetryPolicy::new(hookplane_rules::Strategy::Linear, 3, 1_000, &[]).unwrap();
    let running = run(dir.path(), &configuration(vec![to], &retry), LOOPBACK);
    let event = running.put("des_1").await;
    running.reaches(&event, EventStatus::Successful).await;
    let got = receiver.got();
    for one in &got {
        assert_eq!(
            one.headers["webhook-id"],
            event.id.as_str(),
            "a retry has another id"
        );
        for secret in [OLD, NEW] {
            let auth = AuthSpec::Provider {
                secrets: vec![secret.to_owned()],
            };
            let verifier = Verifier::new(Provider::StandardWebhooks, auth, 300).unwrap();
            let headers: Vec<(String, Vec<u8>)> = one
                .headers
                .iter()
                .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
                .collect();
            let inbound = Inbound {
                headers: &headers,
                body: &one.body,
            };
            let at = one.headers["webhook-timestamp"].to_str().unwrap();
            let verdict = verifier.verify(&inbound, at.parse().unwrap());
            assert!(verdict.is_ok(), "{verdict:?}");
        }
    }
    let kept = format!("{:?}", attempts(&running, &event).await);
    let sent = got[0].headers["webhook-signature"].to_str().unwrap();
    assert!(!kept.contains(sent), "an attempt keeps the signature");
    running.stop().await;
}

fn token(value: &str, seconds: u32) -> Act {
    let body =
        format!(r#"{{"access_token":"{value}","token_type":"Bearer","expires_in":{seconds}}}"#);
    Act::Answer(200, Vec::new(), body.into_bytes())
}

fn client(token_url: &str) -> DestinationAuth {
    DestinationAuth::ClientCredentials(Arc::new(ClientCredentials {
        token_url: token_url.parse().unwrap(),
        client_id: "the client".into(),
        client_secret: "s3cret:value".to_owned().into(),
        scope: "events write".into(),
        audience: String::new(),
        in_body: false,
    }))
}

#[tokio::test]
async fn one_token_is_fetched_for_many_deliveries_and_another_when_it_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let endpoint = Receiver::start(vec![token("first", 3_600), token("second", 3_600)]).await;
    let receiver = Receiver::start(vec![answer(200)]).await;
    let to = with(client(&endpoint.url), "des_1", &receiver.url);
    let running = run(
        dir.path(),
        &configuration(vec![to], &RetryPolicy::default()),
        LOOPBACK,
    );
    for _ in 0..20 {
        running.put("des_1").await;
    }
    receiver.called(20).await;
    let asked = endpoint.got();
    assert_eq!(asked.len(), 1, "the token was fetched more than once");
    assert_eq!(
        asked[0].body,
        b"grant_type=client_credentials&scope=events+write"
    );
    // base64 of `the+client:s3cret%3Avalue`
    assert_eq!(
        asked[0].headers["authorization"],
        "Basic dGhlK2NsaWVudDpzM2NyZXQlM0F2YWx1ZQ=="
    );
    assert!(
        receiver
            .got()
            .iter()
            .all(|one| one.headers["authorization"] == "Bearer first")
    );

    // Two refusals: the first is answered by a fresh token, within the same attempt.
    receiver.now(answer(200));
    receiver.next(answer(401));
    let event = running.put("des_1").await;
    let event = running.reaches(&event, EventStatus::Successful).await;
    assert_eq!(event.attempts, 1, "the refresh was counted as an attempt");
    assert_eq!(
        receiver.got().last().unwrap().headers["authorization"],
        "Bearer second"
    );
    assert_eq!(endpoint.got().len(), 2);
    let kept = format!("{:?}", attempts(&running, &event).await);
    for secret in ["second", "first", "s3cret"] {
        assert!(!kept.contains(secret), "an attempt keeps {secret}");
    }

    // One that is refused again is an answer like any other, not a loop.
    receiver.now(answer(401));
    let before = receiver.got().len();
    let event = running.put("des_1").await;
    let event = running.reaches(&event, EventStatus::Scheduled).await;
    assert_eq!(event.response_status, Some(401));
    assert_eq!(receiver.got().len(), before + 2);
    running.stop().await;
}

#[tokio::test]
async fn without_a_token_an_event_waits_and_the_endpoints_words_are_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let echo = Act::Answer(400, Vec::new(), b"bad secret s3cret:value".to_vec());
    let endpoint = Receiver::start(vec![echo]).await;
    let receiver = Receiver::start(vec![answer(200)]).await;
    let short_lived = Receiver::start(vec![token("brief", 0)]).await;
    let inside = endpoint.url.replace("127.0.0.1", "[::1]");
    let to = vec![
        with(client(&endpoint.url), "des_refused", &receiver.url),
        with(client(&inside), "des_inside", &receiver.url),
        with(client(&short_lived.url), "des_brief", &receiver.url),
    ];
    let running = run(
        dir.path(),
        &configuration(to, &RetryPolicy::default()),
        LOOPBACK,
    );
    let event = running.put("des_refused").await;
    let event = running.reaches(&event, EventStatus::Scheduled).await;
    assert_eq!(event.error_code.as_deref(), Some("token_unavailable"));
    let kept = format!("{:?}", attempts(&running, &event).await);
    assert!(!kept.contains("s3cret"), "{kept}");
    let event = running.put("des_inside").await;
    running.reaches(&event, EventStatus::Failed).await;
    for _ in 0..2 {
        let event = running.put("des_brief").await;
        running.reaches(&event, EventStatus::Successful).await;
    }
    assert_eq!(short_lived.got().len(), 2, "an expired token was used");
    running.stop().await;
}

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        roots
    }

    fn issue(&self, name: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
        (vec![certificate.der().clone()], key)
    }

    fn client(&self, name: &str) -> (DestinationAuth, CertificateDer<'static>) {
        let (chain, key) = self.issue(name);
        let own = chain[0].clone();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots())
            .with_client_auth_cert(chain, key)
            .unwrap();
        (DestinationAuth::ClientCertificate(Arc::new(config)), own)
    }
}

/// A TLS receiver that demands a certificate of the authority; tells who came, per call.
async fn demanding(
    authority: &Authority,
    tasks: &mut tokio::task::JoinSet<()>,
) -> (String, Arc<Mutex<Vec<CertificateDer<'static>>>>) {
    let (chain, key) = authority.issue("localhost");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(
        Arc::new(authority.roots()),
        Arc::clone(&provider),
    );
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "https://localhost:{}/",
        listener.local_addr().unwrap().port()
    );
    let seen: Arc<Mutex<Vec<CertificateDer<'static>>>> = Arc::default();
    let came = Arc::clone(&seen);
    tasks.spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, came) = (acceptor.clone(), Arc::clone(&came));
            connections.spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                let who = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
                let mut buffer = vec![0; 65_536];
                // Requests are small and come whole; the connection is kept for the next.
                while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                    came.lock().unwrap().push(who.clone().into_owned());
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                    if stream.write_all(answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (url, seen)
}

#[tokio::test]
async fn each_destination_shows_its_own_certificate_and_others_none() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let mut tasks = tokio::task::JoinSet::new();
    let (url, seen) = demanding(&authority, &mut tasks).await;
    let ((first, first_own), (second, second_own)) =
        (authority.client("first"), authority.client("second"));
    let to = vec![
        with(first, "des_first", &url),
        with(second, "des_second", &url),
        with(DestinationAuth::None, "des_bare", &url),
    ];
    let running = run(
        dir.path(),
        &configuration(to, &RetryPolicy::default()),
        LOOPBACK,
    );
    for (id, own) in [("des_first", &first_own), ("des_second", &second_own)] {
        for _ in 0..2 {
            let event = running.put(id).await;
            running.reaches(&event, EventStatus::Successful).await;
            assert_eq!(
                seen.lock().unwrap().last(),
                Some(own),
                "{id} came as another"
            );
        }
    }
    let bare = running.put("des_bare").await;
    let bare = running.reaches(&bare, EventStatus::Scheduled).await;
    assert_eq!(bare.error_code.as_deref(), Some("tls_failed"));
    running.stop().await;
}

#[tokio::test]
async fn a_receiver_that_accepts_and_says_nothing_is_given_up_before_the_whole_timeout() {
    let dir = tempfile::tempdir().unwrap();
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/", silent.local_addr().unwrap().port());
    let patient = Destination {
        timeout: Duration::from_secs(600),
        ..with(DestinationAuth::None, "des_1", &url)
    };
    let running = run(
        dir.path(),
        &configuration(vec![patient], &RetryPolicy::default()),
        LOOPBACK,
    );
    let event = running.put("des_1").await;
    let event = running.reaches(&event, EventStatus::Scheduled).await;
    assert_eq!(event.error_code.as_deref(), Some("connect_timeout"));
    running.stop().await;
}
