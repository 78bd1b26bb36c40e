//! `hookplane-agent`: settings, logging, start, run, and an exit code that says how it went.

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;
use hookplane_agent::accept::Certificates;
use hookplane_agent::agent::{Agent, StartError, runtime_end};
use hookplane_agent::causes::chain;
use hookplane_agent::clock::SystemClock;
use hookplane_agent::handles;
use hookplane_agent::settings::{Arguments, Command, LogFormat, Settings, StoreCommand};
use hookplane_agent::store::journal::offline;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Records are many small pieces, made on one thread and dropped on another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: u8 = 2;
const FAILURE: u8 = 1;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let command = arguments.command;
    let settings = match Settings::read(arguments) {
        Ok(settings) => settings,
        Err(error) => return refuse(USAGE, &error),
    };
    if let Err(error) = log(&settings) {
        return refuse(USAGE, error.as_ref());
    }
    if rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_err()
    {
        tracing::debug!("a TLS provider was installed before");
    }
    // Traffic has threads of its own; here are the schedule, the streams and the upkeep.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return refuse(FAILURE, &error),
    };
    let last_step = runtime_end(settings.drain);
    let code = match command {
        None => {
            handles::raise(&settings);
            runtime.block_on(run(settings))
        }
        Some(Command::Store(work)) => runtime.block_on(work_on_store(&settings, work)),
    };
    runtime.shutdown_timeout(last_step);
    code
}

async fn work_on_store(settings: &Settings, work: StoreCommand) -> ExitCode {
    let folder = settings.store_dir();
    let mut out = std::io::BufWriter::new(std::io::stdout());
    let outcome = match work {
        StoreCommand::Verify => offline::verify(&folder, &mut out),
        StoreCommand::RebuildIndex => offline::rebuild_index(&folder, &mut out).await,
        StoreCommand::Export => offline::export(&folder, &mut out),
    };
    let written = out.flush();
    match outcome.and_then(|sound| Ok(written.map(|()| sound)?)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FAILURE),
        Err(error) => refuse(FAILURE, &error),
    }
}

async fn run(settings: Settings) -> ExitCode {
    let shutdown = CancellationToken::new();
    let signals = signal(SignalKind::interrupt())
        .and_then(|interrupt| Ok((interrupt, signal(SignalKind::terminate())?)));
    let (interrupt, terminate) = match signals {
        Ok(signals) => signals,
        Err(error) => return refuse(FAILURE, &error),
    };
    let agent = match Agent::start(settings, Arc::new(SystemClock)).await {
        Ok(agent) => agent,
        Err(error @ StartError::Settings(_)) => return refuse(USAGE, &error),
        Err(error) => return refuse(FAILURE, &error),
    };
    let (ingest, admin) = (agent.ingest(), agent.admin());
    tracing::info!(%ingest, %admin, "the agent listens");
    let reloading = reload(agent.certificates());
    let running = agent.run(shutdown.clone());
    tokio::select! {
        ended = running => match ended {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => refuse(FAILURE, &error),
        },
        error = reloading => refuse(FAILURE, &error),
        () = forced(interrupt, terminate, &shutdown) => {
            tracing::warn!("the second signal ends the agent at once");
            ExitCode::from(FAILURE)
        }
    }
}

/// A hangup asks for a look at the certificate; without one it ends the process as usual.
async fn reload(certificates: Option<Arc<Certificates>>) -> std::io::Error {
    let Some(certificates) = certificates else {
        return std::future::pending().await;
    };
    let mut hangups = match signal(SignalKind::hangup()) {
        Ok(hangups) => hangups,
        Err(error) => return error,
    };
    while hangups.recv().await.is_some() {
        certificates.look_now();
    }
    std::future::pending().await
}

/// The first signal asks for a drain; ends with the second one.
async fn forced(mut interrupt: Signal, mut terminate: Signal, shutdown: &CancellationToken) {
    for _ in 0..2 {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if shutdown.is_cancelled() {
            return;
        }
        shutdown.cancel();
    }
}

fn log(settings: &Settings) -> Result<(), Box<dyn Error + Send + Sync>> {
    let filter = EnvFilter::try_new(&settings.log)
        .map_err(|error| format!("`log`: {} is no filter: {error}", settings.log))?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // A log that cannot be written (a full disk) is no reason for a panic.
        .log_internal_errors(false);
    match settings.log_format {
        LogFormat::Text => lines.with_ansi(false).try_init()?,
        LogFormat::Json => lines.json().try_init()?,
    }
    Ok(())
}

/// On standard error, where an operator looks first.
fn refuse(code: u8, error: &(dyn Error + 'static)) -> ExitCode {
    // Nothing is left to say it to when standard error is closed.
    writeln!(std::io::stderr(), "hookplane-agent: {}", chain(error)).ok();
    ExitCode::from(code)
}
