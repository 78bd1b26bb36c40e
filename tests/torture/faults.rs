//! What goes wrong, one after the other, drawn at random.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hookplane_tests::{Receiver, System, until};
use rand::Rng as _;
use rand::rngs::StdRng;

use crate::disk::Disk;
use crate::load::Load;

/// How often each happened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) agent_kills: u32,
    pub(crate) agent_stops: u32,
    pub(crate) control_plane_kills: u32,
    pub(crate) full_disks: u32,
    pub(crate) receiver_faults: u32,
}

pub(crate) struct Faults {
    load: Arc<Load>,
    disk: Disk,
    counts: Counts,
}

impl Faults {
    pub(crate) const fn new(load: Arc<Load>, disk: Disk) -> Self {
        Self {
            load,
            disk,
            counts: Counts {
                agent_kills: 0,
                agent_stops: 0,
                control_plane_kills: 0,
                full_disks: 0,
                receiver_faults: 0,
            },
        }
    }

    pub(crate) const fn counts(&self) -> Counts {
        self.counts
    }

    /// Some load, then one fault.
    pub(crate) async fn one(
        &mut self,
        system: &mut System,
        receivers: &[Receiver; 2],
        random: &mut StdRng,
    ) {
        self.some_load(random.random_range(20..200)).await;
        let receiver = &receivers[random.random_range(0..receivers.len())];
        let drawn = random.random_range(0..10);
        println!(
            "torture: {} acknowledged, fault {drawn}",
            self.load.acknowledged()
        );
        match drawn {
            0..=3 => {
                self.counts.agent_kills += 1;
                system.kill_agent(0).await;
                self.start_agent(system).await;
            }
            4 => {
                self.counts.agent_stops += 1;
                system.stop_agent(0).await;
                self.start_agent(system).await;
            }
            5 => {
                self.counts.control_plane_kills += 1;
                system.kill_control_plane().await;
                system.start_control_plane().await;
            }
            6 if self.disk.can_be_filled() => {
                self.counts.full_disks += 1;
                self.disk.fill();
                tokio::time::sleep(Duration::from_millis(random.random_range(200..1_500))).await;
                if random.random_bool(0.3) {
                    // Killed while there is no space, and started again once there is.
                    system.kill_agent(0).await;
                    self.disk.free();
                    self.start_agent(system).await;
                }
                self.disk.free();
            }
            _ => {
                self.counts.receiver_faults += 1;
                self.bad_receiver(receiver, random).await;
            }
        }
    }

    /// Everything runs and answers again.
    pub(crate) async fn heal(&self, system: &mut System, receivers: &[Receiver; 2]) {
        self.disk.free();
        for receiver in receivers {
            receiver.always_answers(None);
            receiver.takes(Duration::ZERO);
        }
        system.settled().await;
        self.some_load(50).await;
    }

    async fn bad_receiver(&self, receiver: &Receiver, random: &mut StdRng) {
        match random.random_range(0..3) {
            0 => {
                receiver.always_answers(Some(500));
                self.some_load(30).await;
                receiver.always_answers(None);
            }
            1 => {
                receiver.takes(Duration::from_millis(300));
                self.some_load(30).await;
                receiver.takes(Duration::ZERO);
            }
            _ => {
                receiver.goes_down();
                self.some_load(30).await;
                receiver.comes_back().await;
            }
        }
    }

    async fn start_agent(&self, system: &mut System) {
        system.start_agent(0).await;
        self.load.goes_to(&system.ingest(0));
    }

    async fn some_load(&self, more: u64) {
        let wanted = self.load.acknowledged() + more;
        until("senders are acknowledged again", || async {
            (self.load.acknowledged() >= wanted).then_some(())
        })
        .await;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "agent killed {}, agent stopped {}, control plane killed {}, disk full {}, receiver faults {}",
            self.agent_kills,
            self.agent_stops,
            self.control_plane_kills,
            self.full_disks,
            self.receiver_faults
        )
    }
}
