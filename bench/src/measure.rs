//! The order of the measurements, to be read from top to bottom.
//!
//! Owns what is measured after what, so that a figure and what it is divided by
//! come from the same minute. The agent starts empty for each load of a round.

mod bare;
mod books;
mod growth;
mod isolation;
mod recovery;
mod rig;
mod round;
mod sweep;
mod watch;

use time::macros::format_description;

use crate::arguments::Plan;
use crate::fault::Fault;
use crate::probe::machine::Machine;
use crate::results::{Results, Settings};
use crate::say;
use rig::BODY;

/// The whole run.
pub(crate) async fn everything(plan: &Plan) -> Result<Results, Fault> {
    let mut results = Results {
        machine: Machine::this()?,
        settings: settings(plan),
        ..Results::default()
    };
    for number in 1..=plan.rounds() {
        say::line(&format!("round {number} of {}", plan.rounds()));
        results.rounds.push(Box::pin(round::round(plan)).await?);
        let beside = Box::pin(isolation::isolation(plan)).await?;
        results.isolation.push(beside);
    }
    say::line("one request at a time: does every answer have its flush?");
    results.flushing = Box::pin(round::flushing(plan)).await?;
    if plan.rounds_only {
        return Ok(results);
    }
    say::line("SIGKILL under load, and the start after it");
    results.recoveries = Box::pin(recovery::recoveries(plan)).await?;
    for turn in 1..=plan.sweep_rounds() {
        say::line(&format!("plots, {turn} of {}", plan.sweep_rounds()));
        Box::pin(sweep::connections(plan, &mut results.by_connections)).await?;
        Box::pin(sweep::bodies(plan, &mut results.by_body)).await?;
        Box::pin(sweep::fan_out(plan, &mut results.by_fan_out)).await?;
    }
    say::line("the rate with more and more stored");
    results.growth = Box::pin(growth::growth(plan)).await?;
    Ok(results)
}

fn settings(plan: &Plan) -> Settings {
    let now = hookplane_tests::sender::now();
    let day = time::OffsetDateTime::from_unix_timestamp(now).ok();
    let day = day.and_then(|day| day.format(format_description!("[year]-[month]-[day]")).ok());
    Settings {
        day: day.unwrap_or_default(),
        quick: plan.quick,
        rounds: plan.rounds(),
        sweep_rounds: plan.sweep_rounds(),
        seconds: plan.duration().as_secs_f64(),
        connections: plan.connections,
        deliveries: plan.deliveries,
        body_size: BODY,
        stored: plan.stored(),
        recovery_bytes: plan.recovery_bytes(),
    }
}
