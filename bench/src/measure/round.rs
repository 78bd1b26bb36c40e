//! One round: the disk, the bare server, accepting, delivering, half rate.

use std::time::Duration;

use super::rig::{Rig, Shape};
use super::watch::{Mark, Spent, watched};
use super::{bare, books};
use crate::arguments::Plan;
use crate::fault::Fault;
use crate::probe::flush;
use crate::probe::machine::busy_micros;
use crate::probe::process::resident;
use crate::results::{Flushing, Round, Run};
use crate::role::load::Outcome;

/// After the configuration arrived and before memory at rest is read.
const REST: Duration = Duration::from_secs(2);
/// How long the machine is looked at before a round.
const LOOK: Duration = Duration::from_secs(1);
const FLUSHES: u64 = 500;
/// Answers waited for one by one.
const ALONE: u64 = 500;

pub(super) async fn round(plan: &Plan) -> Result<Round, Fault> {
    let busy_before = busy_cores().await?;
    let flush = flush::measure(&plan.dir, FLUSHES)?;
    let bare = bare::bare(plan).await?;

    let mut rig = Rig::start(plan, 1).await?;
    tokio::time::sleep(REST).await;
    let resident_at_rest = resident(rig.agent_pid())?.unwrap_or(0);
    let accept = accept(plan, &mut rig).await?;
    drop(rig);

    let mut rig = Rig::start(plan, 1).await?;
    warm_up(plan, &mut rig).await?;
    let usual = Shape::usual(plan);
    let deliver = delivered(&mut rig, &usual).await?;
    let half = Shape {
        rate: Some((deliver.delivered_per_second() / 2.0).max(1.0)),
        ..usual
    };
    let half = delivered(&mut rig, &half).await?;
    Ok(Round {
        busy_before,
        flush,
        bare,
        resident_at_rest,
        accept,
        deliver,
        half,
    })
}

/// What the machine does while the bench does nothing.
async fn busy_cores() -> Result<f64, Fault> {
    let before = busy_micros()?;
    tokio::time::sleep(LOOK).await;
    let busy = busy_micros()?.saturating_sub(before);
    Ok(busy as f64 / 1_000_000.0 / LOOK.as_secs_f64())
}

/// Accepts while the sink answers nothing; all of it is delivered afterwards, for the books.
async fn accept(plan: &Plan, rig: &mut Rig) -> Result<Run, Fault> {
    warm_up(plan, rig).await?;
    rig.hold(true).await;
    let before = Mark::of_rig(rig)?;
    let (outcome, most_resident) = loaded(rig, &Shape::usual(plan)).await?;
    let spent = before.until(&Mark::of_rig(rig)?);
    rig.hold(false).await;
    let mut run = Run::of(&outcome, &spent);
    run.seconds_to_last = outcome.seconds;
    run.most_resident = most_resident;
    run.books = books::settled(rig).await?;
    Ok(run)
}

/// Accepts and delivers until the last event has arrived.
pub(super) async fn delivered(rig: &mut Rig, shape: &Shape) -> Result<Run, Fault> {
    let before = Mark::of_rig(rig)?;
    let (outcome, most_while_loaded) = loaded(rig, shape).await?;
    let loaded = before.until(&Mark::of_rig(rig)?);
    let (books, most_after) = watched(rig, books::settled(rig)).await?;
    let spent = before.until(&Mark::of_rig(rig)?);
    let mut run = Run::of(&outcome, &spent);
    run.seconds_to_last = outcome.seconds + (spent.seconds - loaded.seconds);
    run.most_resident = most_while_loaded.max(most_after);
    run.books = books?;
    // What this run owes, not the rig.
    run.books.owed = run.acknowledged * rig.fan_out();
    Ok(run)
}

/// A short load, all of it delivered.
pub(super) async fn warm_up(plan: &Plan, rig: &mut Rig) -> Result<(), Fault> {
    let shape = Shape {
        time: plan.warm_up(),
        ..Shape::usual(plan)
    };
    rig.load(&shape).await?;
    books::settled(rig).await?;
    Ok(())
}

async fn loaded(rig: &mut Rig, shape: &Shape) -> Result<(Outcome, u64), Fault> {
    let job = rig.job(shape)?;
    let (outcome, most) = watched(rig, crate::role::load(&job)).await?;
    let outcome = outcome?;
    rig.note(&outcome)?;
    Ok((outcome, most))
}

/// One connection: no answer can share a flush with another.
pub(super) async fn flushing(plan: &Plan) -> Result<Flushing, Fault> {
    let mut rig = Rig::start(plan, 1).await?;
    warm_up(plan, &mut rig).await?;
    rig.hold(true).await;
    let shape = Shape {
        connections: 1,
        requests: ALONE,
        ..Shape::usual(plan)
    };
    let before = Mark::of_rig(&rig)?;
    let outcome = rig.load(&shape).await?;
    let spent = before.until(&Mark::of_rig(&rig)?);
    let before = Mark::of_rig(&rig)?;
    tokio::time::sleep(Duration::from_secs_f64(spent.seconds)).await;
    let rest = before.until(&Mark::of_rig(&rig)?);
    rig.hold(false).await;
    let flushes = |spent: &Spent| spent.disk.map_or(0, |disk| disk.flushes);
    Ok(Flushing {
        countable: spent.disk.is_some(),
        answers: outcome.acknowledged(),
        flushes: flushes(&spent),
        flushes_at_rest: flushes(&rest),
        latency: outcome.latency,
        books: books::settled(&rig).await?,
    })
}

impl Run {
    /// What the load saw and what the machine spent.
    pub(super) fn of(outcome: &Outcome, spent: &Spent) -> Self {
        let unacknowledged = outcome.unacknowledged.len() as u64;
        Self {
            sent: outcome.sent,
            acknowledged: outcome.acknowledged(),
            refused: outcome.refused,
            cut_off: unacknowledged - outcome.refused,
            seconds: outcome.seconds,
            seconds_to_last: outcome.seconds,
            latency: outcome.latency,
            lateness: outcome.lateness,
            wire_bytes: outcome.wire_bytes,
            server_cpu_micros: spent.server.cpu_micros,
            load_cpu_micros: outcome.cpu_micros,
            sink_cpu_micros: spent.sink_micros,
            others_cores: spent.others_cores(outcome.cpu_micros),
            written_bytes: spent.server.written_bytes,
            disk_bytes: spent.disk.map(|disk| disk.bytes),
            disk_flushes: spent.disk.map(|disk| disk.flushes),
            ..Self::default()
        }
    }
}
