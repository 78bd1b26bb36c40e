//! `dev`: both planes in one process, on embedded stores, on this machine.
//!
//! Owns the data directory of a development instance, where things listen, and
//! the two-step stop: the first signal drains, the second ends at once.
//! Refuses to know how a plane works; `planes` is the one file that starts them.

use std::net::SocketAddr;
use std::path::Path;
use std::process;
use std::time::Duration;

use ipnet::IpNet;
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::failure::Failure;
use crate::output::{Output, Table};
use crate::session::{DevFile, SessionArgs, admin_key_file};

mod demo;
mod files;
mod planes;
mod receiver;

use files::Instance;
use planes::{PlaneOptions, Planes};

/// Flags of `dev`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct DevArgs {
    /// Address of the API
    #[arg(long, env = "HOOKPLANE_API", default_value = "127.0.0.1:8080")]
    api: SocketAddr,
    /// Address for webhooks
    #[arg(long, env = "HOOKPLANE_INGEST", default_value = "127.0.0.1:8088")]
    ingest: SocketAddr,
    /// Address of health, readiness and metrics of the agent
    #[arg(long, env = "HOOKPLANE_ADMIN", default_value = "127.0.0.1:8089")]
    admin: SocketAddr,
    /// Private networks that deliveries may go to, beside this machine
    #[arg(
        long,
        env = "HOOKPLANE_ALLOW_ADDRESS",
        value_name = "CIDR",
        value_delimiter = ','
    )]
    allow_address: Vec<IpNet>,
    /// Say nothing but errors
    #[arg(long)]
    quiet: bool,
    /// Set up a demo source and receiver, send one event, show what came of it
    #[arg(long)]
    demo: bool,
    /// What to log, `info,hookplane_agent=debug` for example
    #[arg(long, env = "HOOKPLANE_LOG", default_value = "warn")]
    log: String,
    /// Seconds a shutdown may take
    #[arg(long, env = "HOOKPLANE_DRAIN_SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    drain_seconds: u64,
}

/// Runs until a signal, then drains.
pub(crate) async fn run(
    args: DevArgs,
    session: &SessionArgs,
    program: &str,
    output: &mut Output,
) -> Result<(), Failure> {
    if !args.api.ip().is_loopback() {
        return Err(Failure::usage(
            format!("{} is not of this machine, and `dev` has no TLS", args.api),
            "give --api a loopback address, or run hookplane-control-plane with --tls-cert",
        ));
    }
    log(&args.log)?;
    let shutdown = CancellationToken::new();
    let mut force = JoinSet::new();
    force.spawn(Signals::new()?.second(shutdown.clone()));
    let instance = Instance::open(&session.data_dir)?;
    let options = args.plane_options(&session.data_dir)?;
    let planes = Planes::start(&options).await?;
    let listening = DevFile {
        pid: process::id(),
        api: format!("http://{}", planes.api()),
        ingest: format!("http://{}", planes.ingest()),
        admin: format!("http://{}", planes.admin()),
    };
    instance.announce(&listening)?;
    let mut running = JoinSet::new();
    running.spawn(planes.run(shutdown.clone()));

    let stage = demo::Stage {
        data_dir: &session.data_dir,
        listening: &listening,
        program,
        quiet: args.quiet,
    };
    let ended = tokio::select! {
        worked = stay(&args, &stage, &shutdown, output) => Err(worked),
        ended = running.join_next() => Ok(joined(ended)),
        _ = force.join_next() => Ok(Err(forced())),
    };
    shutdown.cancel();
    let result = match ended {
        Ok(ended) => ended,
        Err(worked) => {
            stage.say(output, "draining");
            tokio::select! {
                ended = running.join_next() => worked.and(joined(ended)),
                _ = force.join_next() => Err(forced()),
            }
        }
    };
    instance.close();
    result
}

/// What is done while the planes run: say where they are, play the demo, wait for the signal.
async fn stay(
    args: &DevArgs,
    stage: &demo::Stage<'_>,
    shutdown: &CancellationToken,
    output: &mut Output,
) -> Result<(), Failure> {
    if !args.quiet {
        introduce(stage, output)?;
    }
    let receiver = if args.demo {
        let played = demo::play(stage, output);
        tokio::select! {
            played = played => Some(played?),
            () = shutdown.cancelled() => None,
        }
    } else {
        None
    };
    stage.say(output, "Ctrl-C drains and stops");
    shutdown.cancelled().await;
    // The receiver answers until here, whatever is delivered to it.
    drop(receiver);
    Ok(())
}

fn introduce(stage: &demo::Stage<'_>, output: &mut Output) -> Result<(), Failure> {
    let (listening, data_dir) = (stage.listening, stage.data_dir);
    let key_file = admin_key_file(data_dir);
    if output.is_json() {
        return output.json_line(&json!({
            "pid": listening.pid,
            "api": listening.api,
            "ingest": listening.ingest,
            "admin": listening.admin,
            "data_dir": data_dir,
            "admin_key_file": key_file,
        }));
    }
    output.table(&Table::of_values([
        ("api", listening.api.clone()),
        ("ingest", format!("{}/<source id>", listening.ingest)),
        ("agent's admin", listening.admin.clone()),
        ("data", data_dir.display().to_string()),
        ("API key", format!("in {}", key_file.display())),
    ]))?;
    if !key_file.exists() {
        output.warning(&format!(
            "{} is gone and its key cannot be shown again; remove {} to begin anew",
            key_file.display(),
            data_dir.display()
        ));
    }
    Ok(())
}

fn joined(
    ended: Option<Result<Result<(), Failure>, tokio::task::JoinError>>,
) -> Result<(), Failure> {
    match ended {
        None => Ok(()),
        Some(Ok(result)) => result,
        Some(Err(panicked)) => Err(Failure::new("PLANE_PANICKED", panicked.to_string())),
    }
}

fn forced() -> Failure {
    Failure::new("FORCED", "stopped by a second signal, without draining")
        .hint("nothing accepted is lost; the next start goes on with it")
}

impl DevArgs {
    fn plane_options(&self, data_dir: &Path) -> Result<PlaneOptions, Failure> {
        let mut allowed = planes::this_machine();
        allowed.extend(&self.allow_address);
        Ok(PlaneOptions {
            data_dir: data_dir.to_owned(),
            admin_key_file: admin_key_file(data_dir),
            api: self.api,
            ingest: files::fixed_port(self.ingest)?,
            admin: self.admin,
            allowed,
            drain: Duration::from_secs(self.drain_seconds),
        })
    }
}

/// The signals that ask for an end.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        let wait = |kind| {
            signal(kind).map_err(|error| Failure::new("SIGNAL", format!("cannot wait: {error}")))
        };
        Ok(Self {
            interrupt: wait(SignalKind::interrupt())?,
            terminate: wait(SignalKind::terminate())?,
        })
    }

    /// Asks for a drain at the first signal, ends at the second.
    async fn second(mut self, shutdown: CancellationToken) {
        for _ in 0..2 {
            tokio::select! {
                _ = self.interrupt.recv() => {}
                _ = self.terminate.recv() => {}
            }
            shutdown.cancel();
        }
    }
}

fn log(filter: &str) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(filter).map_err(|error| {
        Failure::usage(
            format!("`{filter}` is no filter: {error}"),
            "`info,hookplane_agent=debug` is one",
        )
    })?;
    // A subscriber that is there already is one of the tests'.
    drop(
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(false)
            .with_writer(std::io::stderr)
            // A log that cannot be written (a full disk) is no reason for a panic.
            .log_internal_errors(false)
            .try_init(),
    );
    Ok(())
}
