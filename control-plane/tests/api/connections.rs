//! Connections that never say what they want: they end, and others get their places.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hookplane_control_plane::listener::{self, Bounds};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rustls_pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::plane::Plane;

const PATIENCE: Duration = Duration::from_secs(30);
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A server with one place for a connection.
async fn one_place(tls: Option<Arc<rustls::ServerConfig>>) -> (SocketAddr, DropGuard) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let address = listener.local_addr().expect("it is bound");
    let router = axum::Router::new().fallback(async || "served");
    let bounds = Bounds {
        connections: 1,
        first_bytes: Duration::from_millis(50),
        ..Bounds::default()
    };
    let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
    let serving = listener::serve(
        listener,
        tls,
        router,
        bounds,
        tasks.clone(),
        shutdown.clone(),
    );
    tasks.spawn(serving);
    (address, shutdown.drop_guard())
}

/// Connects, says this much and waits until the other side ends it.
async fn is_ended(address: SocketAddr, says: &[u8]) {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    stream.write_all(says).await.expect("it is taken");
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    // An end with unread bytes is a reset.
    assert!(ended.is_ok(), "the connection stays open");
}

#[tokio::test]
async fn silent_connections_and_halves_of_a_preface_give_their_place_back() {
    let (address, _running) = one_place(None).await;
    for says in [&b""[..], b"P", &PREFACE[..20]] {
        is_ended(address, says).await;
    }
    let client = Client::builder(TokioExecutor::new()).build_http::<axum::body::Body>();
    let url = format!("http://{address}/").parse().expect("a URL");
    let answer = client.get(url).await.expect("there is a place");
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn a_client_that_does_not_answer_any_more_holds_up_no_stop() {
    let plane = Plane::with_drain(Duration::from_secs(2)).await;
    let mut stream = TcpStream::connect(plane.address).await.expect("it listens");
    stream.write_all(PREFACE).await.expect("it is taken");
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    stream.write_all(&settings).await.expect("it is taken");
    stream.read_u8().await.expect("it speaks HTTP/2");
    // From here on it neither answers nor goes away, and the stop goes well.
    plane.stop().await;
    drop(stream);
}

#[tokio::test]
async fn so_do_connections_that_stop_in_the_handshake_or_after_it() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("the versions fit")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("they fit");
    let (address, _running) = one_place(Some(Arc::new(server))).await;
    is_ended(address, b"").await;
    is_ended(address, b"\x16\x03\x01").await;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("it is readable");
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the versions fit")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
    for _ in 0..2 {
        let stream = TcpStream::connect(address).await.expect("it listens");
        let name = "localhost".try_into().expect("a name");
        let mut stream = connector.connect(name, stream).await.expect("a place");
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "the connection stays open");
    }
}
