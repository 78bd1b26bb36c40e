//! TLS on ingest: both versions of HTTP, those who do not speak it, and a new certificate.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hookplane_agent::accept::{Certificates, IngestLimits, TlsListener};
use hookplane_agent::agent::{Agent as Process, StartError};
use hookplane_agent::clock::SystemClock;
use hookplane_agent::settings::{CertificateFiles, Settings};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::world::{Agent, closed, connect, start_on};

const SOON: Duration = Duration::from_millis(20);

/// Writes a new certificate with its key; gives the certificate.
fn renew(files: &CertificateFiles) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    std::fs::write(&files.chain, made.cert.pem()).unwrap();
    CertificateDer::from_pem_slice(made.cert.pem().as_bytes()).unwrap()
}

fn files(dir: &Path) -> CertificateFiles {
    CertificateFiles {
        chain: dir.join("chain.pem"),
        key: dir.join("key.pem"),
    }
}

struct Secure {
    agent: Agent,
    certificates: Arc<Certificates>,
    files: CertificateFiles,
    known: CertificateDer<'static>,
    _dir: tempfile::TempDir,
}

async fn start(limits: IngestLimits) -> Secure {
    let dir = tempfile::tempdir().unwrap();
    let files = files(dir.path());
    let known = renew(&files);
    let certificates = Certificates::open(files.clone()).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("https://{}", listener.local_addr().unwrap());
    let listener = TlsListener::new(listener, Arc::clone(&certificates));
    Secure {
        agent: start_on(vec![listener], base, limits),
        certificates,
        files,
        known,
        _dir: dir,
    }
}

/// Shakes hands with somebody who must show this certificate.
async fn greet(
    stream: TcpStream,
    known: &CertificateDer<'static>,
    protocol: &[u8],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(known.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let name = ServerName::try_from("localhost").unwrap();
    let greeting = TlsConnector::from(Arc::new(config)).connect(name, stream);
    let done = tokio::time::timeout(Duration::from_secs(20), greeting).await;
    done.expect("the agent shakes hands in time")
}

/// Posts over one version of HTTP; status and body.
async fn post(stream: TlsStream<TcpStream>, version_two: bool) -> (u16, Bytes) {
    let agreed = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
    let expected: &[u8] = if version_two { b"h2" } else { b"http/1.1" };
    assert_eq!(agreed.as_deref(), Some(expected));
    let request = hyper::Request::post("https://localhost/src_open").header("host", "localhost");
    let request = request.body(Full::new(Bytes::from("{}"))).unwrap();
    let mut driving = JoinSet::new();
    let stream = TokioIo::new(stream);
    let answer = if version_two {
        use hyper::client::conn::http2::handshake;
        let (mut sender, driver) = handshake(TokioExecutor::new(), stream).await.unwrap();
        driving.spawn(async move { drop(driver.await) });
        sender.send_request(request).await
    } else {
        use hyper::client::conn::http1::handshake;
        let (mut sender, driver) = handshake(stream).await.unwrap();
        driving.spawn(async move { drop(driver.await) });
        sender.send_request(request).await
    };
    let answer = answer.expect("the agent answers");
    let status = answer.status().as_u16();
    (
        status,
        answer.into_body().collect().await.unwrap().to_bytes(),
    )
}

#[tokio::test]
async fn both_versions_of_http_are_spoken_inside() {
    let secure = start(IngestLimits::default()).await;
    for (protocol, version_two) in [(&b"h2"[..], true), (b"http/1.1", false)] {
        let stream = connect(&secure.agent).await;
        let stream = greet(stream, &secure.known, protocol).await.unwrap();
        let (status, body) = post(stream, version_two).await;
        assert_eq!((status, body.as_ref()), (200, &b"thanks"[..]));
    }
    assert_eq!(secure.agent.kept().await.len(), 2);
}

#[tokio::test]
async fn plain_text_is_hung_up_on_and_counted_nowhere() {
    let secure = start(IngestLimits::default()).await;
    for said in [
        &b"POST /src_open HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{}"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut stream = connect(&secure.agent).await;
        stream.write_all(said).await.unwrap();
        let told = closed(&mut stream).await;
        assert!(!told.contains("HTTP"), "{told}");
    }
    assert!(secure.agent.kept().await.is_empty());
    assert!(secure.agent.meter.take().is_empty());
    let stream = connect(&secure.agent).await;
    let stream = greet(stream, &secure.known, b"http/1.1").await.unwrap();
    assert_eq!(post(stream, false).await.0, 200);
}

#[tokio::test]
async fn a_handshake_that_stops_is_cut_off_and_keeps_nobody_waiting() {
    let secure = start(IngestLimits {
        header_deadline: Duration::from_millis(500),
        idle: Duration::from_secs(3_600),
        ..IngestLimits::default()
    })
    .await;
    let mut silent = connect(&secure.agent).await;
    let mut half = connect(&secure.agent).await;
    // The beginning of a greeting: a handshake record that promises 512 bytes.
    half.write_all(&[22, 3, 1, 2, 0, 1, 0, 1]).await.unwrap();
    let stream = connect(&secure.agent).await;
    let stream = greet(stream, &secure.known, b"http/1.1").await.unwrap();
    assert_eq!(post(stream, false).await.0, 200);
    closed(&mut silent).await;
    closed(&mut half).await;
}

#[tokio::test]
async fn handshakes_are_within_the_bound_on_connections() {
    let secure = start(IngestLimits {
        connections_per_client: 1,
        header_deadline: Duration::from_secs(3_600),
        ..IngestLimits::default()
    })
    .await;
    let held = connect(&secure.agent).await;
    let second = connect(&secure.agent).await;
    greet(second, &secure.known, b"http/1.1").await.unwrap_err();
    drop(held);
}

#[tokio::test]
async fn a_new_certificate_is_shown_without_a_restart() {
    let secure = start(IngestLimits::default()).await;
    let mut watching = JoinSet::new();
    let stop = CancellationToken::new();
    watching.spawn(Arc::clone(&secure.certificates).watch(SOON, stop.clone()));
    let before = connect(&secure.agent).await;
    let before = greet(before, &secure.known, b"http/1.1").await.unwrap();

    let renewed = renew(&secure.files);
    until_shown(&secure.agent, &renewed).await;
    // Who shook hands with the old one is served all the same.
    assert_eq!(post(before, false).await.0, 200);

    stop.cancel();
    watching.join_all().await;
}

async fn until_shown(agent: &Agent, wanted: &CertificateDer<'static>) {
    for _ in 0..400 {
        let stream = connect(agent).await;
        if let Ok(stream) = greet(stream, wanted, b"http/1.1").await {
            assert_eq!(post(stream, false).await.0, 200);
            return;
        }
        tokio::time::sleep(SOON).await;
    }
    panic!("the new certificate is never shown");
}

#[tokio::test]
async fn a_whole_agent_speaks_tls_on_every_thread_and_drains() {
    let dir = tempfile::tempdir().unwrap();
    let known = renew(&files(dir.path()));
    let process = Box::pin(Process::start(settings(dir.path()), Arc::new(SystemClock)))
        .await
        .unwrap();
    let (ingest, stop) = (process.ingest(), CancellationToken::new());
    let mut running = JoinSet::new();
    running.spawn(Box::pin(process.run(stop.clone())));
    // Enough to reach each of the threads, as good as certainly.
    for _ in 0..20 {
        let stream = TcpStream::connect(ingest).await.unwrap();
        let stream = greet(stream, &known, b"h2").await.unwrap();
        let (status, body) = post(stream, true).await;
        let body = String::from_utf8_lossy(&body);
        assert!(status == 503 && body.contains("AGENT_NOT_READY"), "{body}");
    }
    stop.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(20), running.join_next()).await;
    ended.expect("it drains").unwrap().unwrap().unwrap();
    TcpStream::connect(ingest).await.unwrap_err();
}

#[tokio::test]
async fn an_agent_without_a_usable_certificate_does_not_start() {
    let dir = tempfile::tempdir().unwrap();
    let named = files(dir.path());
    renew(&named);
    std::fs::write(&named.chain, "no certificate").unwrap();
    let started = Box::pin(Process::start(settings(dir.path()), Arc::new(SystemClock))).await;
    let error = started.map(drop).unwrap_err();
    assert!(matches!(error, StartError::Certificate(_)), "{error}");
    let why = hookplane_agent::causes::chain(&error);
    assert!(why.contains("chain.pem"), "{why}");
}

/// Nobody is at the control plane's address, which an agent can live with.
fn settings(dir: &Path) -> Settings {
    let mut settings = Settings::in_dir(&dir.join("agent"));
    settings.control_plane = "http://127.0.0.1:1".parse().unwrap();
    settings.ingest.set_port(0);
    settings.admin.set_port(0);
    settings.ingest_tls = Some(files(dir));
    settings.ingest_threads = 3;
    settings
}
