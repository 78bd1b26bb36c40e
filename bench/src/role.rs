//! The processes around the agent: this same program in another role.
//!
//! A serving role prints `{"pid":…,"address":"…"}` once it listens; the load
//! generator reads one job and prints one outcome. Each is ended by its id.

pub(crate) mod bare;
mod body;
pub(crate) mod load;
pub(crate) mod message;
pub(crate) mod sink;
mod wire;

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::Stdio;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::fault::Fault;
use load::{Job, Outcome};

/// Header of requests that are due at fixed times: when, by the machine's monotonic clock.
const DUE: &str = "bench-due-micros";

/// The same clock for every process of the machine.
fn monotonic_micros() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    (now.tv_sec as u64) * 1_000_000 + (now.tv_nsec as u64) / 1_000
}

#[derive(Debug, Serialize, Deserialize)]
struct Listening {
    pid: u32,
    address: SocketAddr,
}

/// A serving role that runs. Killed when dropped.
pub(crate) struct Server {
    _child: Child,
    pub(crate) pid: u32,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts `bare` or `sink`.
    pub(crate) async fn start(role: &'static str) -> Result<Self, Fault> {
        let mut child = command(role)?
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| Fault::io(role, error))?;
        let Some(output) = child.stdout.take() else {
            return Err(Fault::role(role, "has no standard output"));
        };
        let mut line = String::new();
        BufReader::new(output)
            .read_line(&mut line)
            .await
            .map_err(|error| Fault::io(role, error))?;
        let told: Listening =
            serde_json::from_str(&line).map_err(|error| Fault::json(role, error))?;
        Ok(Self {
            _child: child,
            pid: told.pid,
            address: told.address,
        })
    }
}

/// Runs the load generator as a process of its own and waits for its outcome.
pub(crate) async fn load(job: &Job) -> Result<Outcome, Fault> {
    let mut child = command("load")?
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| Fault::io("load", error))?;
    let text = serde_json::to_vec(job).map_err(|error| Fault::json("the job", error))?;
    let (Some(mut input), Some(mut output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(Fault::role("load", "has no standard streams"));
    };
    let io = |error| Fault::io("load", error);
    input.write_all(&text).await.map_err(io)?;
    drop(input);
    let mut answer = Vec::new();
    output.read_to_end(&mut answer).await.map_err(io)?;
    let status = child.wait().await.map_err(io)?;
    if !status.success() {
        return Err(Fault::role("load", format!("ended with {status}")));
    }
    serde_json::from_slice(&answer).map_err(|error| Fault::json("the outcome of a load", error))
}

fn command(role: &str) -> Result<Command, Fault> {
    let this = std::env::current_exe().map_err(|error| Fault::io("this program", error))?;
    let mut command = Command::new(this);
    command.arg(role).kill_on_drop(true);
    Ok(command)
}

/// Tells the parent where a serving role listens.
fn announce(address: SocketAddr) -> Result<(), Fault> {
    let told = Listening {
        pid: std::process::id(),
        address,
    };
    print(&told)
}

fn print(value: &impl Serialize) -> Result<(), Fault> {
    let mut text = serde_json::to_vec(value).map_err(|error| Fault::json("an answer", error))?;
    text.push(b'\n');
    let mut output = std::io::stdout();
    output
        .write_all(&text)
        .and_then(|()| output.flush())
        .map_err(|error| Fault::io("standard output", error))
}
