//! SIGKILL under load, and how long until the agent accepts again.
//!
//! The kernel's cache stays warm: this is the death of a process, not of a
//! machine. Everything acknowledged before the kill has to be delivered after it.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use super::books;
use super::rig::{Rig, Shape};
use super::round::{delivered, warm_up};
use crate::arguments::Plan;
use crate::fault::Fault;
use crate::results::Recovery;
use crate::{role, say};

const FILLING: Duration = Duration::from_secs(10);
/// So that the kill comes while requests are under way.
const SHORTEST: Duration = Duration::from_secs(4);
/// Between two knocks.
const KNOCK: Duration = Duration::from_millis(2);
/// What `blocks` counts in.
const BLOCK: u64 = 512;
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) async fn recoveries(plan: &Plan) -> Result<Vec<Recovery>, Fault> {
    let mut rig = Rig::start(plan, 1).await?;
    warm_up(plan, &mut rig).await?;
    while size(&rig.agent_folder())? < plan.recovery_bytes() {
        let shape = Shape {
            time: FILLING,
            ..Shape::usual(plan)
        };
        delivered(&mut rig, &shape).await?;
        let mib = size(&rig.agent_folder())? >> 20;
        say::line(&format!("the store has {mib} MiB"));
    }
    let mut found = Vec::new();
    for _ in 0..plan.rounds() {
        found.push(once(plan, &mut rig).await?);
    }
    Ok(found)
}

async fn once(plan: &Plan, rig: &mut Rig) -> Result<Recovery, Fault> {
    let usual = Shape::usual(plan);
    let shape = Shape {
        time: usual.time.max(SHORTEST),
        ..usual
    };
    let (job, folder) = (rig.job(&shape)?, rig.agent_folder());
    let killed = async {
        tokio::time::sleep(shape.time / 2).await;
        rig.kill_agent().await;
    };
    let (outcome, ()) = tokio::join!(role::load(&job), killed);
    let outcome = outcome?;
    let store_bytes = size(&folder)?;
    let began = Instant::now();
    rig.start_agent().await;
    rig.note(&outcome)?;
    while !rig.knock().await? {
        if began.elapsed() > PATIENCE {
            let detail = format!("did not accept within {PATIENCE:?} of its start");
            return Err(Fault::role("agent", detail));
        }
        tokio::time::sleep(KNOCK).await;
    }
    let seconds_to_accept = began.elapsed().as_secs_f64();
    Ok(Recovery {
        store_bytes,
        seconds_to_accept,
        acknowledged_before: outcome.acknowledged(),
        books: books::settled(rig).await?,
    })
}

/// Bytes of all files, as far as blocks are theirs.
fn size(folder: &Path) -> Result<u64, Fault> {
    let fault = |error| Fault::file(folder, error);
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).map_err(fault)? {
        let entry = entry.map_err(fault)?;
        let path = entry.path();
        bytes += match entry.metadata() {
            Ok(kind) if kind.is_dir() => size(&path)?,
            Ok(file) => file.blocks() * BLOCK,
            // The agent may have removed it meanwhile.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
            Err(error) => return Err(Fault::file(&path, error)),
        };
    }
    Ok(bytes)
}
