//! `hookplane`: installs the TLS provider, runs the command, gives its exit code.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    // Fails only when one is installed already, which is as good.
    let installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
    drop(installed);
    hookplane_cli::run(std::env::args_os().collect()).await
}
