//! `hookplane`: installs the TLS provider, runs the command, gives its exit code.

use std::process::ExitCode;
use std::time::Duration;

/// Blocking calls that are left after the command are not waited for any longer.
const RUNTIME_END: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    // Fails only when one is installed already, which is as good.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return hookplane_cli::no_runtime(&error),
    };
    let code = runtime.block_on(hookplane_cli::run(std::env::args_os().collect()));
    runtime.shutdown_timeout(RUNTIME_END);
    code
}
