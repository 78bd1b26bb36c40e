//! Kills the accepting half with SIGKILL under load, again and again: every request
//! that was acknowledged is in the store after the last restart (G1).
//!
//! Started with a data folder as argument it is the victim; without, it is the test.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
#![expect(
    clippy::print_stdout,
    reason = "the victim tells its address on standard output"
)]

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use hookplane_agent::accept::{Acceptor, IngestLimits, serve};
use hookplane_agent::clock::SystemClock;
use hookplane_agent::config::{Branches, Configuration, Connection, Source};
use hookplane_agent::ids::IdMint;
use hookplane_agent::meter::Meter;
use hookplane_agent::store::Store as _;
use hookplane_agent::store::journal::{JournalStore, Options};
use hookplane_rules::RetryPolicy;
use hookplane_signature::{AuthSpec, Provider, Verifier};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const ROUNDS: usize = 8;
const SENDERS: usize = 16;
/// Acknowledged requests after which a round's victim is killed.
const ENOUGH: usize = 150;

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    match std::env::args()
        .nth(1)
        .filter(|argument| Path::new(argument).is_dir())
    {
        Some(folder) => runtime.block_on(victim(Path::new(&folder))),
        None => {
            runtime.block_on(every_acknowledged_request_survives());
            println!("1 passed, 0 failed");
        }
    }
}

async fn victim(folder: &Path) {
    let connection = Arc::new(Connection {
        id: "web_1".into(),
        name: "c".into(),
        destination_id: "des_1".into(),
        enabled: true,
        paused: false,
        drain: None,
        filters: Vec::new(),
        deduplicate: None,
        delay: None,
        transform: None,
        retry: RetryPolicy::default(),
    });
    let source = Source {
        id: "src_1".into(),
        team_id: "tm_1".into(),
        name: "s".into(),
        provider: Provider::Webhook,
        enabled: true,
        verifier: Verifier::new(Provider::Webhook, AuthSpec::None, 300).unwrap(),
        methods: vec![http::Method::POST],
        custom_response: None,
        max_body_bytes: 65_536,
        handler_keys: Vec::new(),
        dedupe_window: Duration::ZERO,
        connections: Branches::of(Provider::Webhook, vec![connection]),
        version: 1,
    };
    let configuration = Configuration {
        epoch: "e".into(),
        revision: 1,
        sources: [(source.id.clone(), Arc::new(source))].into(),
        destinations: std::collections::HashMap::new(),
        ..Configuration::default()
    };
    let acceptor = Acceptor::new(
        Arc::new(ArcSwap::from_pointee(configuration)),
        Arc::new(JournalStore::open(&folder.join("store"), &Options::default()).unwrap()),
        Arc::new(SystemClock),
        IdMint::new(1),
        Arc::new(Meter::default()),
        IngestLimits::default(),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    serve(
        listener,
        Arc::new(acceptor),
        TaskTracker::new(),
        CancellationToken::new(),
    )
    .await;
}

async fn every_acknowledged_request_survives() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = BTreeSet::new();
    for round in 0..ROUNDS {
        let before = acknowledged.len();
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .arg(dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut address = String::new();
        BufReader::new(victim.stdout.take().unwrap())
            .read_line(&mut address)
            .unwrap();
        let url = format!("http://{}/src_1", address.trim());
        let (told, mut heard) = tokio::sync::mpsc::channel(1_024);
        let mut senders = tokio::task::JoinSet::new();
        for sender in 0..SENDERS {
            senders.spawn(send_until_refused(
                url.clone(),
                told.clone(),
                round * SENDERS + sender,
            ));
        }
        drop(told);
        let mut killed = false;
        // Ends when every sender has lost its victim.
        while let Some(id) = heard.recv().await {
            acknowledged.insert(id);
            if !killed && acknowledged.len() - before >= ENOUGH {
                victim.kill().unwrap();
                killed = true;
            }
        }
        victim.wait().unwrap();
        assert!(
            killed,
            "round {round}: the victim died before it was killed"
        );
    }

    let store = JournalStore::open(&dir.path().join("store"), &Options::default()).unwrap();
    assert!(acknowledged.len() >= ROUNDS * ENOUGH);
    for id in &acknowledged {
        let kept = store.history("tm_1", id).await.unwrap();
        let history = kept.unwrap_or_else(|| panic!("{id} was acknowledged and is lost"));
        assert_eq!(history.events.len(), 1, "{id} lost its event");
        assert_eq!(history.request.body.len(), 1_500, "{id} lost bytes");
    }
    let due = store.pending_lanes().await.unwrap();
    assert_eq!(
        due.len(),
        1,
        "the events of what was acknowledged are not waiting"
    );
}

async fn send_until_refused(url: String, told: tokio::sync::mpsc::Sender<String>, seed: usize) {
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let body = Bytes::from(vec![u8::try_from(seed % 256).unwrap(); 1_500]);
    loop {
        let request = hyper::Request::post(&url)
            .body(Full::new(body.clone()))
            .unwrap();
        let answered = tokio::time::timeout(Duration::from_secs(20), client.request(request)).await;
        let Ok(Ok(answer)) = answered else { return };
        assert_eq!(answer.status(), 200);
        let Ok(bytes) = answer.into_body().collect().await else {
            return;
        };
        let answer: Value = serde_json::from_slice(&bytes.to_bytes()).unwrap();
        if told
            .send(answer["request_id"].as_str().unwrap().to_owned())
            .await
            .is_err()
        {
            return;
        }
    }
}
