//! `dev` with both real planes: start, demo, stop, start again.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::hookplane::Shell;

const DEADLINE: Duration = Duration::from_secs(60);
const PORTS: [&str; 6] = [
    "--api",
    "127.0.0.1:0",
    "--ingest",
    "127.0.0.1:0",
    "--admin",
    "127.0.0.1:0",
];

/// A running `hookplane dev`; killed when dropped.
struct Dev {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Dev {
    fn start(folder: &Path, more: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_hookplane"))
            .arg("dev")
            .args(PORTS)
            .args(more)
            .env_clear()
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Everything written up to a line with these words.
    async fn until(&mut self, words: &str) -> String {
        let mut text = String::new();
        let reading = async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                text.push_str(&line);
                text.push('\n');
                if line.contains(words) {
                    return;
                }
            }
            panic!("it ended without `{words}`");
        };
        let in_time = tokio::time::timeout(DEADLINE, reading).await;
        assert!(in_time.is_ok(), "no `{words}` in {text}");
        text
    }

    /// Ctrl-C, and the exit code.
    async fn interrupt(mut self) -> Option<i32> {
        let pid = self.child.id().unwrap();
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -INT {pid}")])
            .status()
            .await;
        assert!(sent.unwrap().success());
        let ended = tokio::time::timeout(DEADLINE, self.child.wait()).await;
        ended
            .expect("it drains within its deadline")
            .unwrap()
            .code()
    }
}

fn word_with<'t>(text: &'t str, start: &str) -> &'t str {
    text.split_whitespace()
        .find(|word| word.starts_with(start))
        .unwrap()
}

/// Asks again until the answer is as wanted.
async fn eventually(shell: &Shell, arguments: &[&str], wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let answer = shell.run(arguments).await.json();
        if wanted(&answer) {
            return answer;
        }
        assert!(Instant::now() < deadline, "{arguments:?}: {answer:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn the_demo_delivers_one_event_and_what_it_prints_works() {
    let shell = Shell::bare();
    let mut dev = Dev::start(shell.path(), &["--demo"]);
    let told = dev.until("/v1/requests?limit=1").await;
    assert!(
        told.contains("verified by  clerk v1 secret 1 of 1"),
        "{told}"
    );
    assert!(told.contains("demo-accounts -> demo-receiver"), "{told}");
    assert!(told.contains("FILTERED"), "{told}");
    let key_file = shell.path().join(".hookplane/admin.key");
    let mode = std::fs::metadata(&key_file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let request = word_with(&told, "req_").to_owned();
    let event = word_with(&told, "evt_").to_owned();
    assert!(
        shell
            .run(&["trace", &request])
            .await
            .ok()
            .contains("SUCCESSFUL")
    );
    shell.run(&["events", "retry", &event]).await.ok();
    let sent = shell
        .run(&["send", "--count", "20", "-o", "json"])
        .await
        .json();
    assert_eq!(sent["accepted"], 20);
    eventually(&shell, &["events", "count", "-o", "json"], |books| {
        books["successful"] == 22
    })
    .await;
    let all = |status: &Value| status["throughput"]["accepted"] == 21;
    let status = eventually(&shell, &["status", "-o", "json"], all).await;
    assert_eq!(status["agents"][0]["state"], "CONNECTED");
    assert_eq!(dev.interrupt().await, Some(0));
    assert!(!shell.path().join(".hookplane/dev.json").exists());

    // A second start finds everything as it was.
    let mut again = Dev::start(shell.path(), &["--demo"]);
    again.until("/v1/requests?limit=1").await;
    let sources = shell.run(&["sources", "list", "-o", "json"]).await.json();
    assert_eq!(sources["count"], 1);
    assert!(
        shell
            .run(&["trace", &request])
            .await
            .ok()
            .contains("SUCCESSFUL")
    );
    assert_eq!(again.interrupt().await, Some(0));
}

#[tokio::test]
async fn two_on_one_data_directory_are_one_too_many() {
    let shell = Shell::bare();
    let mut dev = Dev::start(shell.path(), &[]);
    dev.until("API key").await;
    let second = shell
        .run(&[
            "dev",
            "--api",
            "127.0.0.1:0",
            "--ingest",
            "127.0.0.1:0",
            "--admin",
            "127.0.0.1:0",
        ])
        .await;
    assert_eq!(second.code, 1, "{second:?}");
    assert!(
        second
            .err
            .contains("hint: stop it, or give this one another --data-dir"),
        "{second:?}"
    );
    assert_eq!(dev.interrupt().await, Some(0));
}

#[tokio::test]
async fn the_api_of_dev_stays_on_this_machine() {
    let ran = Shell::bare().run(&["dev", "--api", "0.0.0.0:0"]).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.err.contains("has no TLS"), "{ran:?}");
}
