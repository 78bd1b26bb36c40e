//! `hookplane-bench`: how fast and how safe one agent is, as ratios in one run on one machine.
//!
//! Owns the load generator, the bare server, the sink, the probes of the disk,
//! the order of the measurements and the report. Refuses to know how the agent
//! stores or delivers: it sees processes, `/proc`, the disk's counters and HTTP.
//!
//! Invariants: a figure and what it is divided by come from the same round; a
//! figure that was not measured at the size its goal names is never shown as
//! met; every load is bounded in requests, bytes and time; nothing that was
//! acknowledged goes unchecked.

mod arguments;
mod fault;
mod goals;
mod measure;
mod probe;
mod report;
mod results;
mod role;
mod say;

use std::process::ExitCode;

use clap::Parser as _;

use arguments::{Arguments, Task};
use fault::Fault;

fn main() -> ExitCode {
    let task = Arguments::parse().task;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(run(task)),
        Err(error) => Err(Fault::io("the runtime", error)),
    };
    match ended {
        Ok(code) => code,
        Err(fault) => {
            say::line(&format!("hookplane-bench: {fault}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(task: Task) -> Result<ExitCode, Fault> {
    match task {
        Task::Run(plan) => {
            plan.check()?;
            let results = Box::pin(measure::everything(&plan)).await?;
            report::write(&results, &plan.output)?;
            let safe = results.safe();
            say::line(&report::verdicts(&results));
            Ok(if safe {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        }
        Task::Report { results, output } => {
            let results = results.map(|path| results::read(&path)).transpose()?;
            match results {
                Some(results) => report::write(&results, &output)?,
                None => report::write_method(&output)?,
            }
            Ok(ExitCode::SUCCESS)
        }
        Task::Bare => role::bare::serve().await.map(|()| ExitCode::SUCCESS),
        Task::Sink => role::sink::serve().await.map(|()| ExitCode::SUCCESS),
        Task::Load => role::load::from_input().await.map(|()| ExitCode::SUCCESS),
    }
}
