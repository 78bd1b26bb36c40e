//! One process of ours: started, killed, stopped, always by its id.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use serde_json::Value;
use tokio::process::{Child, Command};

use crate::until;

/// A running process with a data folder. Killed when dropped.
pub struct Process {
    child: Child,
    name: &'static str,
    data_dir: PathBuf,
    log: PathBuf,
    /// What it said about itself once it listened.
    pub runtime: Value,
}

/// Path of one of our binaries, built beside the program that asks.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    let this = std::env::current_exe().expect("the program knows its own path");
    let folder = this.parent().expect("a program stands in a folder");
    // Tests stand one folder below the binaries.
    let folder = match folder.parent() {
        Some(above) if folder.ends_with("deps") => above,
        _ => folder,
    };
    let path = folder.join(name);
    assert!(
        path.exists(),
        "{name} is not built; `cargo build --workspace --bins` does it"
    );
    path
}

impl Process {
    /// Starts a binary and waits until it wrote `runtime` into its data folder.
    ///
    /// # Panics
    /// When it ends before that; its log is part of the message.
    pub async fn start(
        name: &'static str,
        data_dir: &Path,
        runtime: &str,
        arguments: &[String],
    ) -> Self {
        let file = data_dir.join(runtime);
        std::fs::create_dir_all(data_dir).expect("a data folder");
        // What a killed one left behind would be taken for news.
        drop(std::fs::remove_file(&file));
        let log = data_dir.with_extension("log");
        let lines = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&log)
            .expect("a log file");
        let mut child = Command::new(binary(name))
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .stdin(Stdio::null())
            .stdout(lines.try_clone().expect("a second handle"))
            .stderr(lines)
            .kill_on_drop(true)
            .spawn()
            .expect("the binary can be run");
        let sentence = format!("{name} listens");
        let runtime = until(&sentence, || {
            let ended = child.try_wait().expect("its state is known");
            let text = std::fs::read(&file).ok();
            let log = log.clone();
            async move {
                if let Some(status) = ended {
                    let log = std::fs::read_to_string(log).unwrap_or_default();
                    panic!("{name} ended with {status}: {log}");
                }
                serde_json::from_slice::<Value>(&text?).ok()
            }
        })
        .await;
        Self {
            child,
            name,
            data_dir: data_dir.to_owned(),
            log,
            runtime,
        }
    }

    /// One of the addresses it listens on.
    #[must_use]
    pub fn address(&self, what: &str) -> String {
        let address = self.runtime[what].as_str();
        address
            .unwrap_or_else(|| panic!("{} tells no {what}", self.name))
            .to_owned()
    }

    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// SIGKILL: nothing is flushed, nobody is told.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("it could be killed");
    }

    /// SIGTERM, then its exit.
    pub async fn stop(self) -> ExitStatus {
        self.signal("TERM").await
    }

    /// Any signal that ends it, then its exit.
    pub async fn signal(mut self, signal: &str) -> ExitStatus {
        let id = self.child.id().expect("it runs").to_string();
        let sent = Command::new("kill")
            .args(["-s", signal, &id])
            .status()
            .await;
        assert!(
            sent.expect("kill runs").success(),
            "the signal was not sent"
        );
        let name = self.name;
        let waiting = tokio::time::timeout(std::time::Duration::from_secs(60), self.child.wait());
        let ended = waiting
            .await
            .unwrap_or_else(|_| panic!("{name} did not end after {signal}"));
        ended.expect("its exit is known")
    }
}
