//! The operator's command against real planes, and both planes in one process.

use std::path::Path;
use std::process::Output;

use hookplane_tests::process::{Process, binary};
use hookplane_tests::{Receiver, System, until};
use serde_json::{Value, json};
use tokio::process::Command;

async fn hookplane(system: &System, arguments: &[&str]) -> Output {
    Command::new(binary("hookplane"))
        .args(arguments)
        .env_clear()
        .env("HOOKPLANE_API_URL", &system.api().url)
        .env("HOOKPLANE_API_KEY", &system.api().key)
        .output()
        .await
        .expect("it runs")
}

async fn says(system: &System, arguments: &[&str]) -> String {
    let output = hookplane(system, arguments).await;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {text}{errors}");
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_applied_events_are_sent_traced_and_retried() {
    let system = System::start().await;
    let receiver = Receiver::start().await;
    let file = system.dir().join("clerk.toml");
    let text = format!(
        r#"
[[sources]]
name = "Clerk"
type = "CLERK"
[sources.config]
auth_type = "PROVIDER_SIGNATURE"
[sources.config.auth]
provider = "CLERK"
webhook_signing_secret = "{}"

[[destinations]]
name = "users"
[destinations.config]
url = "{}"

[[connections]]
name = "users"
source = "Clerk"
destination = "users"
[[connections.rules]]
type = "filter"
body = {{ type = {{ "$starts_with" = "user." }} }}
[[connections.rules]]
type = "retry"
count = 0
"#,
        hookplane_tests::sender::SECRET,
        receiver.url()
    );
    std::fs::write(&file, text).expect("it is written");
    let file = file.to_string_lossy().into_owned();
    let first = says(&system, &["apply", "-f", &file]).await;
    assert!(first.contains("created"), "{first}");
    let second = says(&system, &["apply", "-f", &file]).await;
    assert!(
        second.contains("unchanged") && !second.contains("created"),
        "{second}"
    );
    system.settled().await;

    receiver.answers(&[500]);
    let source = system.api().list("/v1/sources").await[0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let url = format!("http://{}/{source}", system.ingest(0));
    let secret = hookplane_tests::sender::SECRET;
    let send = [
        "send",
        "--type",
        "CLERK",
        "--event",
        "user.created",
        "--url",
        &url,
        "--secret",
        secret,
    ];
    says(&system, &send).await;
    receiver.got(1).await;
    let event = until("the event has failed", || async {
        let rows = system.api().list("/v1/events?status=FAILED").await;
        rows.first().cloned()
    })
    .await;
    let request = event["request_id"].as_str().expect("an id");
    let trace = says(&system, &["trace", request]).await;
    for part in [request, "user.created", "FAILED", "500"] {
        assert!(trace.contains(part), "no {part} in {trace}");
    }
    let event = event["id"].as_str().expect("an id");
    says(&system, &["events", "retry", event]).await;
    receiver.got(2).await;

    let listed = says(&system, &["requests", "list", "-o", "json"]).await;
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    assert!(listed.to_string().contains(request), "{listed}");
    let status = says(&system, &["status"]).await;
    assert!(status.contains("agent-0"), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tail_shows_requests_and_attempts_as_they_happen() {
    use tokio::io::{AsyncBufReadExt as _, BufReader};
    let system = System::start().await;
    let receiver = Receiver::start().await;
    let (source, _) = system.clerk_to(&receiver, json!([])).await;
    let mut tail = Command::new(binary("hookplane"))
        .arg("tail")
        .env_clear()
        .env("HOOKPLANE_API_URL", &system.api().url)
        .env("HOOKPLANE_API_KEY", &system.api().key)
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("it runs");
    let mut lines = BufReader::new(tail.stdout.take().expect("piped")).lines();
    // The tail begins with the call, so send until it has seen one.
    let seen = async {
        let mut seen = String::new();
        while !(seen.contains("user.created") && seen.contains("200")) {
            source.send(r#"{"type":"user.created"}"#).await;
            let next =
                tokio::time::timeout(std::time::Duration::from_millis(500), lines.next_line());
            if let Ok(line) = next.await {
                seen.push_str(&line.expect("its output").unwrap_or_default());
                seen.push('\n');
            }
        }
    };
    let deadline = std::time::Duration::from_secs(30);
    tokio::time::timeout(deadline, seen)
        .await
        .expect("the tail shows what happens");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_exits_1_with_a_hint_and_bad_usage_exits_2() {
    let system = System::start().await;
    let bad = [
        "sources",
        "create",
        "--name",
        "Clerk",
        "--type",
        "CLERK",
        "--secret",
        "sk_test_1",
    ];
    let output = hookplane(&system, &bad).await;
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        text.contains("webhook_signing_secret") && text.contains("hint:"),
        "{text}"
    );
    let output = hookplane(&system, &["sources", "invent"]).await;
    assert_eq!(output.status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn dev_with_demo_prints_a_delivered_trace_and_drains_at_ctrl_c() {
    let dir = tempfile::tempdir().expect("a folder");
    let data_dir = dir.path().join("dev");
    let free = "127.0.0.1:0".to_owned();
    let mut arguments = vec![
        "dev".to_owned(),
        "--demo".to_owned(),
        "--data-dir".to_owned(),
    ];
    arguments.push(data_dir.to_string_lossy().into_owned());
    for flag in ["--api", "--ingest", "--admin"] {
        arguments.extend([flag.to_owned(), free.clone()]);
    }
    let dev = Process::start("hookplane", &data_dir, "dev.json", &arguments).await;
    until("the demo's delivery is traced", || async {
        let log = dev.log();
        (log.contains("user.created") && log.contains("SUCCESSFUL")).then_some(())
    })
    .await;
    let listed = from_the_data_dir(&data_dir, &["requests", "list"]).await;
    assert!(listed.contains("user.created"), "{listed}");
    let ended = dev.signal("INT").await;
    assert_eq!(ended.code(), Some(0), "Ctrl-C is a clean end");
}

/// As a person in the same folder would: no address, no key.
async fn from_the_data_dir(data_dir: &Path, arguments: &[&str]) -> String {
    let output = Command::new(binary("hookplane"))
        .args(arguments)
        .arg("--data-dir")
        .arg(data_dir)
        .env_clear()
        .output()
        .await
        .expect("it runs");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_of_failures_is_looked_at_and_replayed_with_a_canary() {
    let system = System::start().await;
    let receiver = Receiver::start().await;
    let once = json!([{ "type": "retry", "count": 0 }]);
    let (source, _) = system.clerk_to(&receiver, once).await;
    receiver.always_answers(Some(422));
    for _ in 0..3 {
        source.send(r#"{"type":"user.created"}"#).await;
    }
    until("all have failed", || async {
        let counts = system.api().get("/v1/events/count").await;
        (counts["failed"] == 3).then_some(())
    })
    .await;
    let window = [
        "replay", "--source", "Clerk", "--from", "now-2h", "--status", "FAILED",
    ];
    let planned = says(&system, &[&window[..], &["--dry-run"]].concat()).await;
    assert!(planned.contains("3 to send again"), "{planned}");
    let sent = [&window[..], &["--canary", "--rate", "500", "--yes"]].concat();
    let failed = hookplane(&system, &sent).await;
    let errors = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert_eq!(failed.status.code(), Some(1), "{errors}");
    assert!(
        errors.contains("hookplane bulk resume bch_"),
        "no next step: {errors}"
    );
    assert_eq!(receiver.so_far().len(), 4, "more than the canary went");

    receiver.always_answers(None);
    let done = says(&system, &[&sent[..], &["--include-retried"]].concat()).await;
    assert!(
        done.contains("completed") && done.contains("3 of 3") || done.contains("4 of 4"),
        "{done}"
    );
    let none = hookplane(&system, &window).await;
    let errors = String::from_utf8_lossy(&none.stderr).into_owned();
    assert!(errors.contains("nothing is selected"), "{errors}");
    let listed = says(&system, &["bulk", "list"]).await;
    assert!(
        listed.contains("paused") && listed.contains("completed"),
        "{listed}"
    );
}
