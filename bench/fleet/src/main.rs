//! `hookplane-bench-fleet`: one control plane with a thousand simulated agents.
//!
//! Owns the simulated agents, the order of the measurements and the report.
//! Refuses to know how the control plane does it: it sees gRPC, `/proc` and
//! signals. Invariants: agents behave as real ones (three connections each, full
//! jitter, hints kept to); one of them checks every digest; a figure of
//! another size than its goal names is marked.

mod agent;
mod arguments;
mod figures;
mod measure;
mod observer;
mod plane;
mod postgres;
mod report;
mod wire;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

use arguments::Plan;

/// What went wrong, in words: a bench has nobody who branches on it.
type Fault = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let plan = Plan::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(run(&plan)),
        Err(error) => Err(error.into()),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            say(&format!("hookplane-bench-fleet: {fault}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(plan: &Plan) -> Result<(), Fault> {
    let figures = Box::pin(measure::everything(plan)).await?;
    let page = report::page(plan, &figures)?;
    if let Some(folder) = plan.report.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(&plan.report, &page)?;
    say(&page);
    Ok(())
}

/// One line of progress.
fn say(text: &str) {
    // Nobody is left to read it when standard error is closed.
    writeln!(std::io::stderr(), "{text}").ok();
}
