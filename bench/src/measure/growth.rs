//! The rate while more and more is stored: one agent, filled in steps, measured after each.

use std::time::Duration;

use super::rig::{Rig, Shape};
use super::round::{delivered, warm_up};
use crate::arguments::Plan;
use crate::fault::Fault;
use crate::results::Point;
use crate::say;

const STEPS: u64 = 4;
/// One filling; events are delivered in between, so that a backlog does not build up.
const FILLING: Duration = Duration::from_secs(10);

/// At nothing stored, at each quarter, and several times at the full number.
pub(super) async fn growth(plan: &Plan) -> Result<Vec<Point>, Fault> {
    let mut rig = Rig::start(plan, 1).await?;
    warm_up(plan, &mut rig).await?;
    let mut points = vec![point(plan, &mut rig, 0).await?];
    for step in 1..=STEPS {
        let level = plan.stored() * step / STEPS;
        fill(plan, &mut rig, level).await?;
        points.push(point(plan, &mut rig, level).await?);
    }
    Ok(points)
}

async fn point(plan: &Plan, rig: &mut Rig, level: u64) -> Result<Point, Fault> {
    let (value, mut runs) = (rig.sent(), Vec::new());
    let ends = level == 0 || level == plan.stored();
    let turns = if ends { plan.sweep_rounds() } else { 1 };
    for _ in 0..turns {
        runs.push(delivered(rig, &Shape::usual(plan)).await?);
    }
    Ok(Point { value, runs })
}

async fn fill(plan: &Plan, rig: &mut Rig, level: u64) -> Result<(), Fault> {
    while rig.sent() < level {
        let shape = Shape {
            time: FILLING,
            requests: level - rig.sent(),
            ..Shape::usual(plan)
        };
        delivered(rig, &shape).await?;
        say::line(&format!("{} of {level} stored", rig.sent()));
    }
    Ok(())
}
