//! `hookplane-control-plane`: settings, logging, start, serve, drain.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Parser as _;
use hookplane_control_plane::clock::SystemClock;
use hookplane_control_plane::lifecycle::Signals;
use hookplane_control_plane::server::ControlPlane;
use hookplane_control_plane::settings::{CommandLine, LogFormat, Settings};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

const USAGE: u8 = 2;

fn main() -> ExitCode {
    let settings = match Settings::read(CommandLine::parse()) {
        Ok(settings) => settings,
        Err(error) => return fail(&error.into(), USAGE),
    };
    if let Err(error) = log(&settings) {
        return fail(&error, USAGE);
    }
    match serve(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, 1),
    }
}

fn log(settings: &Settings) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&settings.log).context("log: this is no filter")?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // A log that cannot be written (a full disk) is no reason for a panic.
        .log_internal_errors(false)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
    match settings.log_format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().init(),
    }
    Ok(())
}

#[tokio::main]
async fn serve(settings: Settings) -> anyhow::Result<()> {
    if rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_err()
    {
        anyhow::bail!("another TLS provider is installed already");
    }
    let signals = Signals::watch()?;
    let plane = ControlPlane::start(settings, Arc::new(SystemClock)).await?;
    if let Some(path) = plane.admin_key_file() {
        tracing::info!(file = %path.display(), "the first API key is in this file; keep it elsewhere and delete it");
    }
    let shutdown = CancellationToken::new();
    tokio::select! {
        ended = plane.run(shutdown.clone()) => Ok(ended?),
        () = signals.drain_then_force(shutdown) => anyhow::bail!("forced to stop"),
    }
}

fn fail(error: &anyhow::Error, code: u8) -> ExitCode {
    use std::io::Write as _;
    // Nothing is left to do when even this cannot be written.
    drop(writeln!(std::io::stderr(), "error: {error:#}"));
    ExitCode::from(code)
}
