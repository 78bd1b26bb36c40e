//! The plots: one thing varies, all else as in a round, an empty agent for each point.

use std::time::Duration;

use super::rig::{Rig, Shape};
use super::round::{delivered, warm_up};
use crate::arguments::Plan;
use crate::fault::Fault;
use crate::results::{Point, Run};

const CONNECTIONS: [u32; 5] = [1, 8, 64, 256, 768];
const BODIES: [usize; 4] = [256, 1_536, 16_384, 262_144];
const FAN_OUT: [usize; 3] = [1, 4, 16];
const SHORTEST: Duration = Duration::from_millis(500);
/// Points of each plot in a quick run.
const QUICK: usize = 2;

pub(super) async fn connections(plan: &Plan, into: &mut Vec<Point>) -> Result<(), Fault> {
    for connections in points(plan, &CONNECTIONS) {
        let shape = Shape {
            connections,
            ..Shape::usual(plan)
        };
        add(
            into,
            u64::from(connections),
            measured(plan, 1, &shape).await?,
        );
    }
    Ok(())
}

pub(super) async fn bodies(plan: &Plan, into: &mut Vec<Point>) -> Result<(), Fault> {
    for body_size in points(plan, &BODIES) {
        let shape = Shape {
            body_size,
            ..Shape::usual(plan)
        };
        add(into, body_size as u64, measured(plan, 1, &shape).await?);
    }
    Ok(())
}

pub(super) async fn fan_out(plan: &Plan, into: &mut Vec<Point>) -> Result<(), Fault> {
    for destinations in points(plan, &FAN_OUT) {
        // As many events as elsewhere, not as many requests: the rest is waiting.
        let share = u32::try_from(destinations).unwrap_or(1);
        let usual = Shape::usual(plan);
        let shape = Shape {
            time: (usual.time / share).max(SHORTEST),
            ..usual
        };
        let run = measured(plan, destinations, &shape).await?;
        add(into, destinations as u64, run);
    }
    Ok(())
}

/// All of them, or the first few.
fn points<T: Copy>(plan: &Plan, all: &[T]) -> Vec<T> {
    let count = if plan.quick { QUICK } else { all.len() };
    all.iter().copied().take(count).collect()
}

async fn measured(plan: &Plan, destinations: usize, shape: &Shape) -> Result<Run, Fault> {
    let mut rig = Rig::start(plan, destinations).await?;
    warm_up(plan, &mut rig).await?;
    delivered(&mut rig, shape).await
}

fn add(into: &mut Vec<Point>, value: u64, run: Run) {
    match into.iter_mut().find(|point| point.value == value) {
        Some(point) => point.runs.push(run),
        None => into.push(Point {
            value,
            runs: vec![run],
        }),
    }
}
