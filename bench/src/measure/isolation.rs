//! One agent, a healthy receiver, and three bad ones that share the agent with it.
//!
//! Owns the comparison: how long deliveries to the healthy receiver take while it is alone, and
//! while another source keeps a hanging, a failing and a slow receiver busy. Both come from the
//! same agent, one after the other, in the same round.

use std::time::Duration;

use super::rig::{Rig, Shape};
use super::round::{delivered, warm_up};
use crate::arguments::Plan;
use crate::fault::Fault;
use crate::results::Isolation;
use crate::role;
use crate::role::load::{Latency, Outcome};

/// Requests per second for the healthy receiver, and as many for each of the bad ones: an agent
/// at ease, so that what is seen is the neighbours and not the end of the processor.
const RATE: f64 = 500.0;
/// For circuits and concurrency to find out what the neighbours are like.
const LEARNING: Duration = Duration::from_secs(6);

pub(super) async fn isolation(plan: &Plan) -> Result<Isolation, Fault> {
    let mut rig = Rig::start(plan, 1).await?;
    let bad = rig.add_bad_receivers().await;
    warm_up(plan, &mut rig).await?;
    let shape = Shape {
        connections: 16,
        rate: Some(RATE),
        ..Shape::usual(plan)
    };
    latency(&rig).await?;
    delivered(&mut rig, &shape).await?;
    let alone = latency(&rig).await?;

    let beside = Shape {
        time: shape.time + LEARNING,
        ..shape
    };
    let job = rig.job_on(&bad, &beside)?;
    let neighbours = role::load(&job);
    let healthy = async {
        tokio::time::sleep(LEARNING).await;
        let run = delivered(&mut rig, &shape).await?;
        Ok::<_, Fault>((run, latency(&rig).await?))
    };
    let (neighbours, healthy): (Result<Outcome, Fault>, _) = tokio::join!(neighbours, healthy);
    let (run, shared) = healthy?;
    let neighbours = neighbours?.acknowledged();
    let wanted = (RATE * beside.time.as_secs_f64() * 0.9) as u64;
    if neighbours < wanted {
        // Beside neighbours that have nothing to do everybody is well off.
        let detail = format!("took {neighbours} requests for the bad receivers, not {wanted}");
        return Err(rig.agent_fault(&detail));
    }
    Ok(Isolation {
        alone,
        shared,
        neighbours,
        books: run.books,
    })
}

/// Of what arrived since the last time, from when a request was due.
async fn latency(rig: &Rig) -> Result<Latency, Fault> {
    let told = rig.sink_api().get("/latency").await;
    serde_json::from_value(told).map_err(|error| Fault::json("the sink's latencies", error))
}
