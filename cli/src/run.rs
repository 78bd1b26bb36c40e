//! From the command line to an exit code.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser as _;

use crate::arguments::{Arguments, Command};
use crate::failure::Failure;
use crate::output::{Format, Output};
use crate::{
    apply, audit, bulk, dev, evidence, export, fleet, handler_keys, keys, resources, rollouts,
    secrets, send, shadow, teams,
};

/// Runs one command and tells its exit code: 0, 1 (failed) or 2 (usage).
pub async fn run(arguments: Vec<OsString>) -> ExitCode {
    let program = arguments
        .first()
        .map(|first| first.to_string_lossy().into_owned());
    let program = program.unwrap_or_else(|| "hookplane".to_owned());
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => return explain(&error),
    };
    let mut output = Output::of_process(arguments.output, arguments.no_colour());
    match Box::pin(dispatch(arguments, &program, &mut output)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if failure.code != Failure::CLOSED {
                output.failure(&failure);
            }
            ExitCode::from(failure.exit)
        }
    }
}

/// Tells that the process cannot even begin.
#[must_use]
pub fn no_runtime(error: &std::io::Error) -> ExitCode {
    let failure = Failure::new("RUNTIME", format!("no threads can be started: {error}"));
    Output::of_process(Format::Table, true).failure(&failure);
    ExitCode::from(failure.exit)
}

/// Help and versions go to standard output with 0, slips to standard error with 2.
fn explain(error: &clap::Error) -> ExitCode {
    if error.print().is_err() {
        Output::of_process(Format::Table, true).note("the message cannot be shown");
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

async fn dispatch(arguments: Arguments, program: &str, output: &mut Output) -> Result<(), Failure> {
    let session = arguments.session;
    match arguments.command {
        Command::Dev(args) => dev::run(args, &session, program, output).await,
        Command::Send(args) => send::run(args, &session, output).await,
        Command::Sources(verb) => resources::run(verb, &session.connect()?, output).await,
        Command::Destinations(verb) => resources::run(verb, &session.connect()?, output).await,
        Command::Connections(verb) => {
            resources::connections(verb, &session.connect()?, output).await
        }
        Command::Apply(args) => apply::run(&args, &session.connect()?, output).await,
        Command::Shadow(args) => shadow::run(&args, &session.connect()?, output).await,
        Command::Export(args) => export::run(&args, &session.connect()?, output).await,
        Command::Requests(verb) => evidence::requests(verb, &session.connect()?, output).await,
        Command::Events(verb) => evidence::events(verb, &session.connect()?, output).await,
        Command::Replay(args) => bulk::replay(*args, &session.connect()?, output).await,
        Command::Bulk(verb) => bulk::bulk(verb, &session.connect()?, output).await,
        Command::Attempts(verb) => evidence::attempts(verb, &session.connect()?, output).await,
        Command::Trace(args) => evidence::trace(args, &session.connect()?, output).await,
        Command::Diagnose(args) => evidence::diagnose(args, &session.connect()?, output).await,
        Command::Tail(args) => evidence::tail(args, &session.connect()?, output).await,
        Command::Status(args) => fleet::status(args, &session.connect()?, output).await,
        Command::Agents(verb) => fleet::agents(verb, &session.connect()?, output).await,
        Command::Rollouts(verb) => rollouts::run(verb, &session.connect()?, output).await,
        Command::Keys(verb) => keys::run(verb, &session.connect()?, output).await,
        Command::HandlerKeys(verb) => handler_keys::run(verb, &session.connect()?, output).await,
        Command::Audit(verb) => audit::run(verb, &session.connect()?, output).await,
        Command::Secrets(verb) => secrets::run(verb, &session.connect()?, output).await,
        Command::Teams(verb) => teams::run(verb, &session.connect()?, output).await,
    }
}
