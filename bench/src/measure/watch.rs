//! Around a load: what it cost the machine, and how large the agent grew meanwhile.

use std::future::Future;
use std::time::{Duration, Instant};

use http::Method;

use super::rig::Rig;
use crate::fault::Fault;
use crate::probe::disk::Written;
use crate::probe::machine::busy_micros;
use crate::probe::process::{Usage, resident};

const SAMPLE: Duration = Duration::from_millis(100);
/// Samples between two scrapes of the metrics, as a monitoring would do.
const SCRAPE: u32 = 10;

/// Counters at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    at: Instant,
    server: Usage,
    /// Sink, control plane and this program.
    sink: Usage,
    rest_micros: u64,
    busy_micros: u64,
    disk: Option<Written>,
}

/// Between two marks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spent {
    pub(super) seconds: f64,
    pub(super) server: Usage,
    pub(super) sink_micros: u64,
    pub(super) disk: Option<Written>,
    /// Everything that is neither ours nor the load generator.
    others_and_load_micros: u64,
}

impl Mark {
    pub(super) fn of_rig(rig: &Rig) -> Result<Self, Fault> {
        let control_plane = Usage::of(rig.control_plane_pid())?;
        let mut mark = Self::of_server(rig.agent_pid())?;
        mark.sink = Usage::of(rig.sink.pid)?;
        mark.rest_micros += control_plane.cpu_micros;
        mark.disk = rig.disk.as_ref().and_then(|disk| disk.written());
        Ok(mark)
    }

    /// A server without a sink.
    pub(super) fn of_server(pid: u32) -> Result<Self, Fault> {
        Ok(Self {
            at: Instant::now(),
            server: Usage::of(pid)?,
            sink: Usage::default(),
            rest_micros: Usage::of_this_process()?.cpu_micros,
            busy_micros: busy_micros()?,
            disk: None,
        })
    }

    pub(super) fn until(&self, end: &Self) -> Spent {
        let server = Usage {
            cpu_micros: end.server.cpu_micros.saturating_sub(self.server.cpu_micros),
            written_bytes: end
                .server
                .written_bytes
                .saturating_sub(self.server.written_bytes),
        };
        let sink_micros = end.sink.cpu_micros.saturating_sub(self.sink.cpu_micros);
        let rest = end.rest_micros.saturating_sub(self.rest_micros);
        let busy = end.busy_micros.saturating_sub(self.busy_micros);
        let disk = self.disk.zip(end.disk).map(|(from, to)| Written {
            bytes: to.bytes.saturating_sub(from.bytes),
            flushes: to.flushes.saturating_sub(from.flushes),
        });
        Spent {
            seconds: (end.at - self.at).as_secs_f64(),
            server,
            sink_micros,
            disk,
            others_and_load_micros: busy.saturating_sub(server.cpu_micros + sink_micros + rest),
        }
    }
}

impl Spent {
    /// Cores that programs used which are not part of the bench.
    pub(super) fn others_cores(&self, load_micros: u64) -> f64 {
        let others = self.others_and_load_micros.saturating_sub(load_micros);
        others as f64 / 1_000_000.0 / self.seconds.max(f64::EPSILON)
    }
}

/// Waits for some work, samples the agent's memory and scrapes its metrics meanwhile.
/// Gives the most memory that was seen.
pub(super) async fn watched<T>(
    rig: &Rig,
    work: impl Future<Output = T>,
) -> Result<(T, u64), Fault> {
    let (pid, admin) = (rig.agent_pid(), rig.admin());
    let mut ticks = tokio::time::interval(SAMPLE);
    let (mut most, mut turn) = (0, 0_u32);
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return Ok((done, most)),
            _ = ticks.tick() => {
                let Some(now) = resident(pid)? else {
                    return Err(rig.agent_fault("ended under load"));
                };
                most = most.max(now);
                turn = turn.wrapping_add(1);
                if turn.is_multiple_of(SCRAPE) {
                    admin.call(Method::GET, "/metrics", None).await;
                }
            }
        }
    }
}
