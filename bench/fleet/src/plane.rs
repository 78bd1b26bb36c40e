//! The control plane as a process: started, looked at through `/proc`, restarted.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hookplane_client::{Client, Settings};
use tokio::time::{Instant, sleep, timeout};

use super::Fault;

const START: Duration = Duration::from_secs(60);

pub(crate) struct Plane {
    program: PathBuf,
    folder: PathBuf,
    database: String,
    port: u16,
    process: Child,
}

impl Plane {
    pub(crate) async fn start(
        program: &Path,
        folder: &Path,
        database: &str,
    ) -> Result<Self, Fault> {
        // Restarts need the same port; a free one now is free a moment later.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let process = spawn(program, folder, database, port)?;
        let plane = Self {
            program: program.to_owned(),
            folder: folder.to_owned(),
            database: database.to_owned(),
            port,
            process,
        };
        plane.ready().await?;
        Ok(plane)
    }

    pub(crate) fn api(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn join_token(&self) -> Result<String, Fault> {
        let token = std::fs::read_to_string(self.folder.join("join.token"))?;
        Ok(token.trim().to_owned())
    }

    pub(crate) fn client(&self) -> Result<Client, Fault> {
        let key = std::fs::read_to_string(self.folder.join("admin.key"))?;
        Ok(Client::connect(Settings::new(self.api(), key.trim()))?)
    }

    /// Stops it as an orchestrator does, and starts it again at once.
    pub(crate) async fn restart(&mut self) -> Result<(), Fault> {
        self.stop()?;
        self.process = spawn(&self.program, &self.folder, &self.database, self.port)?;
        Ok(())
    }

    fn stop(&mut self) -> Result<(), Fault> {
        let pid = i32::try_from(self.process.id())?;
        let pid = rustix::process::Pid::from_raw(pid).ok_or("a process has a number")?;
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        self.process.wait()?;
        Ok(())
    }

    pub(crate) async fn ready(&self) -> Result<(), Fault> {
        let began = Instant::now();
        while began.elapsed() < START {
            let dialled = timeout(START, super::agent::dial(&self.api())).await;
            if dialled.is_ok_and(|dialled| dialled.is_ok()) {
                return Ok(());
            }
            sleep(Duration::from_millis(20)).await;
        }
        Err("the control plane did not start".into())
    }

    /// Resident memory now and at most, in bytes.
    pub(crate) fn memory(&self) -> Result<(u64, u64), Fault> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let field = |name: &str| -> Option<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
            Some(kib * 1_024)
        };
        let (now, most) = (field("VmRSS:"), field("VmHWM:"));
        Ok((now.ok_or("no memory")?, most.ok_or("no memory")?))
    }

    /// Processor time since its start.
    pub(crate) fn processor(&self) -> Result<Duration, Fault> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks: u64 = fields
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|field| field.parse::<u64>().ok())
            .sum();
        let per_second = rustix::param::clock_ticks_per_second();
        Ok(Duration::from_millis(ticks * 1_000 / per_second))
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        // It may have ended already.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn spawn(program: &Path, folder: &Path, database: &str, port: u16) -> Result<Child, Fault> {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(folder.join("control-plane.log"))?;
    Ok(Command::new(program)
        .arg("--data-dir")
        .arg(folder)
        .args(["--api", &format!("127.0.0.1:{port}")])
        .args(["--log", "warn"])
        .args(["--drain-seconds", "5"])
        .env("HOOKPLANE_DATABASE", database)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()?)
}
