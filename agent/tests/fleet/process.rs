//! The real binary as a process of its own: killed under load, asked to stop, started wrongly.

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::control_plane::{ControlPlane, Known, Verdict};
use crate::receiver::Receiver;
use crate::world::*;

const ROUNDS: usize = 4;
const SENDERS: usize = 8;
/// Acknowledged requests after which a round's agent is killed.
const ENOUGH: usize = 60;

/// Killed when the test ends early.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hookplane-agent"));
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn start(place: &Place, control_plane: &str) -> Process {
    // Of a process that was killed: it would be taken for this one's.
    std::fs::remove_file(place.data_dir().join("runtime.json")).ok();
    let child = binary()
        .args(["--control-plane", control_plane, "--name", "agent-1"])
        .args(["--ingest", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .args(["--allow-address", "127.0.0.0/8", "--log", "warn"])
        .arg("--data-dir")
        .arg(place.data_dir())
        .arg("--join-token-file")
        .arg(place.token_file())
        .spawn()
        .unwrap();
    Process(child)
}

async fn ingest(place: &Place) -> String {
    let path = place.data_dir().join("runtime.json");
    let mut address = None;
    until("the agent listens", || {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let told: Value = serde_json::from_str(&text).unwrap_or_default();
        address = told["ingest"].as_str().map(str::to_owned);
        address.is_some()
    })
    .await;
    address.unwrap()
}

#[tokio::test]
async fn every_acknowledged_request_is_delivered_whenever_the_agent_is_killed() {
    let (place, known) = (Place::new(), Known::default());
    let mut control_plane = ControlPlane::start(&known, TOKEN).await;
    let url = control_plane.url();
    let receiver = Receiver::start(200).await;
    let mut agent = start(&place, &url);
    let mut conversation = control_plane.configuration().await;
    let resources = vec![
        destination("des_1", 1, &receiver.url),
        source("src_1", 1, &["des_1"]),
    ];
    let verdict = conversation
        .snapshot(held("e", 1, &resources), resources)
        .await;
    assert!(matches!(verdict, Verdict::Ack(_)), "{verdict:?}");
    // From here on every agent lives from its disk.
    control_plane.crash();

    let mut acknowledged = BTreeSet::new();
    for round in 0..ROUNDS {
        let before = acknowledged.len();
        let target = format!("http://{}/src_1", ingest(&place).await);
        let (told, mut heard) = mpsc::channel(1_024);
        let mut senders = tokio::task::JoinSet::new();
        for _ in 0..SENDERS {
            senders.spawn(send_until_refused(target.clone(), told.clone()));
        }
        drop(told);
        let mut killed = false;
        while let Some(id) = heard.recv().await {
            acknowledged.insert(id);
            if !killed && acknowledged.len() - before >= ENOUGH {
                agent.0.kill().unwrap();
                killed = true;
            }
        }
        assert!(
            killed,
            "round {round}: the agent ended before it was killed"
        );
        agent = start(&place, &url);
    }
    assert!(acknowledged.len() >= ROUNDS * ENOUGH);
    until("the delivery of everything acknowledged", || {
        let got: BTreeSet<String> = receiver
            .got()
            .into_iter()
            .map(|got| got.request_id)
            .collect();
        acknowledged.is_subset(&got)
    })
    .await;
    assert!(receiver.got().iter().all(|got| got.body.len() == 1_000));
}

async fn send_until_refused(url: String, told: mpsc::Sender<String>) {
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let body = Bytes::from(vec![b'x'; 1_000]);
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
        let id = answer["request_id"].as_str().unwrap().to_owned();
        if told.send(id).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn a_signal_drains_the_agent_and_it_exits_with_success() {
    let place = Place::new();
    let mut agent = start(&place, "http://127.0.0.1:9");
    ingest(&place).await;
    let pid = agent.0.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
    let mut code = None;
    until("the agent exits", || {
        code = agent.0.try_wait().unwrap();
        code.is_some()
    })
    .await;
    assert_eq!(code.unwrap().code(), Some(0));
}

#[test]
fn wrong_usage_exits_with_2_and_what_cannot_be_done_with_1() {
    let usage = [
        &["--no-such-flag"][..],
        &["--control-plane", "http://192.0.2.1:8080"],
        &["--allow-address", "everything"],
        &["--config", "no-such-file.toml"],
    ];
    for wrong in usage {
        let code = binary().args(wrong).status().unwrap().code();
        assert_eq!(code, Some(2), "{wrong:?}");
    }
    let place = Place::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let code = binary()
        .args(["--ingest", &address, "--admin", "127.0.0.1:0", "--data-dir"])
        .arg(place.data_dir())
        .status()
        .unwrap()
        .code();
    assert_eq!(code, Some(1), "a taken address");
}
