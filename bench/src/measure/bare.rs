//! The bare server under the same load.

use super::rig::Shape;
use super::watch::Mark;
use crate::arguments::Plan;
use crate::fault::Fault;
use crate::results::Run;
use crate::role::{self, Server};

pub(super) async fn bare(plan: &Plan) -> Result<Run, Fault> {
    let server = Server::start("bare").await?;
    let usual = Shape::usual(plan);
    let warm_up = Shape {
        time: plan.warm_up(),
        ..usual
    };
    role::load(&warm_up.job(server.address, "/bare", 0)).await?;
    let before = Mark::of_server(server.pid)?;
    // Nothing is stored: the bound in bytes is the agent's.
    let outcome = role::load(&usual.unbounded().job(server.address, "/bare", 0)).await?;
    let spent = before.until(&Mark::of_server(server.pid)?);
    Ok(Run::of(&outcome, &spent))
}
