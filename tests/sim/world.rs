//! One run: the hosts, the network between them, and what is done to both.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hookplane_agent::store::Store as _;
use hookplane_journal::io::simulated::{Crash, Operation};
use turmoil::{Builder, Sim};

use crate::agent::AgentHost;
use crate::chance;
use crate::configuration::Configuration;
use crate::control_plane::ControlPlane;
use crate::history::{At, Fact, History};
use crate::invariants::{self, Evidence, Violation};
use crate::plan::{
    AGENT, Action, AgentEnd, CONTROL_PLANE, FAULTY, HEALED, LATER, PROVIDER, Plan, STEADY,
};
use crate::provider;
use crate::receiver;
use crate::store::blocking;

const HOSTS: [&str; 6] = [STEADY, FAULTY, LATER, CONTROL_PLANE, AGENT, PROVIDER];
const TICK: Duration = Duration::from_millis(20);
/// Of a message on a healthy network, at most.
pub(crate) const LATENCY: Duration = Duration::from_millis(20);
/// A run that has not come to rest by then never will.
const LONGEST: At = 300_000;
/// How long nothing may be left to do before the run counts as at rest.
const REST: At = 5_000;
const LOOK: At = 500;
/// Between starts of an agent that does not start.
const SUPERVISOR: At = 500;

/// What a run came to.
pub(crate) struct Outcome {
    pub(crate) seed: u64,
    pub(crate) hash: u64,
    pub(crate) violations: Vec<Violation>,
    pub(crate) history: History,
    pub(crate) simulated: Duration,
}

struct World<'a> {
    sim: Sim<'a>,
    history: History,
    agent: Arc<AgentHost>,
    plane: ControlPlane,
    /// The provider is done.
    sent: Arc<AtomicBool>,
    /// The agent is meant to run: a supervisor starts it when it does not.
    wanted: bool,
    next_start: At,
    /// Links that a fault has parted.
    parted: Vec<(&'static str, &'static str)>,
}

/// Runs a seed to its end and judges it.
pub(crate) fn run(seed: u64) -> Outcome {
    chance::seed_agent(seed);
    let plan = Arc::new(Plan::draw(seed));
    let mut world = World::new(&plan);
    let failure = world.play(&plan).err();
    let simulated = world.sim.elapsed();
    let mut violations = world.agent.violations();
    if let Some(error) = failure {
        violations.push(Violation {
            invariant: "run",
            what: error,
        });
    } else {
        violations.extend(world.judge(&plan));
    }
    Outcome {
        seed,
        hash: world.history.hash(),
        violations,
        history: world.history.clone(),
        simulated,
    }
}

impl World<'_> {
    fn new(plan: &Arc<Plan>) -> Self {
        let mut sim = Builder::new()
            .rng_seed(plan.seed)
            .tick_duration(TICK)
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(LATENCY)
            .simulation_duration(Duration::from_millis(LONGEST * 2))
            .build();
        let history = History::default();
        for name in [STEADY, FAULTY, LATER] {
            let (plan, history) = (Arc::clone(plan), history.clone());
            sim.host(name, move || {
                let served = receiver::serve(name, Arc::clone(&plan), history.clone());
                async move { Ok(served.await?) }
            });
        }
        let url = |name| format!("http://{}:{}", sim.lookup(name), receiver::PORT);
        let configuration = Configuration::new([STEADY, FAULTY, LATER].map(url));
        let plane = ControlPlane::new(configuration);
        let served = plane.clone();
        sim.host(CONTROL_PLANE, move || {
            let served = served.clone().serve();
            async move { Ok(served.await?) }
        });
        let agent = AgentHost::new(plan.seed, history.clone());
        let host = Arc::clone(&agent);
        sim.host(AGENT, move || Arc::clone(&host).live());
        let sent = Arc::new(AtomicBool::new(false));
        let sending = provider::send_all(Arc::clone(plan), history.clone());
        let done = Arc::clone(&sent);
        sim.client(PROVIDER, async move {
            sending.await;
            done.store(true, Ordering::Relaxed);
            Ok(())
        });
        Self {
            sim,
            history,
            agent,
            plane,
            sent,
            wanted: true,
            next_start: 0,
            parted: Vec::new(),
        }
    }

    /// Plays the plan and goes on until nothing is left to do.
    fn play(&mut self, plan: &Plan) -> Result<(), String> {
        let mut actions = plan.actions.iter().peekable();
        let (mut resting_since, mut next_look) = (None, HEALED);
        loop {
            let now = self.now();
            while let Some((_, action)) = actions.next_if(|(at, _)| *at <= now) {
                self.act(action);
            }
            self.look_after_agent();
            self.sim.step().map_err(|error| error.to_string())?;
            if now < next_look {
                continue;
            }
            next_look = now + LOOK;
            if now > LONGEST {
                return Err(format!("no rest by {now} ms: {}", self.unrest()));
            }
            if !self.unrest().is_empty() {
                resting_since = None;
            } else if now - *resting_since.get_or_insert(now) >= REST {
                return Ok(());
            }
        }
    }

    fn now(&self) -> At {
        u64::try_from(self.sim.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// What is left to do; empty at rest.
    fn unrest(&self) -> String {
        let Some(store) = self.agent.store() else {
            return "the agent is down".to_owned();
        };
        if !self.sent.load(Ordering::Relaxed) {
            return "the provider still sends".to_owned();
        }
        let reports = blocking(store.inner().spool_length());
        if !matches!(reports, Ok(0)) {
            return format!("reports wait: {reports:?}");
        }
        let backlog = blocking(store.inner().backlog(&HashSet::new()));
        match backlog {
            Ok(left) if left.scheduled + left.queued + left.hold == 0 => String::new(),
            left => format!("events wait: {left:?}"),
        }
    }

    fn tell(&self, fact: Fact) {
        self.history.add_at(self.now(), fact);
    }

    fn act(&mut self, action: &Action) {
        match action {
            Action::EndAgent(end) => self.end_agent(*end),
            Action::StartAgent => self.start_agent(),
            Action::EndControlPlane => {
                self.tell(Fact::ControlPlaneDown);
                self.crash(CONTROL_PLANE);
            }
            Action::StartControlPlane => {
                self.start(CONTROL_PLANE);
                self.tell(Fact::ControlPlaneUp);
            }
            Action::EndReceiver(name) => {
                self.tell(Fact::ReceiverDown(name));
                self.crash(name);
            }
            // Faults may overlap: who is up already is not started again.
            Action::StartReceiver(name) if self.sim.is_host_running(*name) => {}
            Action::StartReceiver(name) => {
                self.start(name);
                self.tell(Fact::ReceiverUp(name));
            }
            Action::Configure(change) => {
                let revision = self.plane.change(*change);
                self.tell(Fact::Configured(revision, change.name()));
            }
            Action::Part(a, b) => {
                self.tell(Fact::LinkBad(a, b));
                self.sim.partition(*a, *b);
                self.parted.push((a, b));
            }
            Action::Hold(a, b) => {
                self.tell(Fact::LinkBad(a, b));
                self.sim.hold(*a, *b);
            }
            Action::Repair(a, b) => {
                self.parted.retain(|link| *link != (*a, *b));
                self.sim.repair(*a, *b);
                self.tell(Fact::LinkGood(a, b));
            }
            Action::Release(a, b) => {
                self.sim.release(*a, *b);
                self.tell(Fact::LinkGood(a, b));
            }
            Action::Delay(a, b, most) => {
                self.sim.set_link_max_message_latency(*a, *b, *most);
                let bad = *most > LATENCY;
                self.tell(if bad {
                    Fact::LinkBad(a, b)
                } else {
                    Fact::LinkGood(a, b)
                });
            }
            Action::FillDisk
            | Action::FreeDisk
            | Action::FailFlush
            | Action::FailWrite
            | Action::SlowDisk(_) => self.act_on_disk(action),
        }
    }

    fn crash(&mut self, host: &'static str) {
        self.unheard(host, |sim| sim.crash(host));
    }

    /// Starts it anew; what is left of the last life is dropped.
    fn start(&mut self, host: &'static str) {
        self.unheard(host, |sim| sim.bounce(host));
    }

    /// Nobody hears how the host's connections end: the runtime drops its tasks in an order
    /// that depends on how many there ever were in the process. Peers find out by themselves,
    /// as after a power cut.
    fn unheard(&mut self, host: &'static str, act: impl FnOnce(&mut Sim<'_>)) {
        let others = HOSTS.into_iter().filter(|other| *other != host);
        for other in others.clone() {
            self.sim.partition(host, other);
        }
        act(&mut self.sim);
        let parted = |other| {
            let link = |(a, b): &(_, _)| (*a, *b) == (host, other) || (*a, *b) == (other, host);
            self.parted.iter().any(link)
        };
        for other in others.filter(|other| !parted(*other)) {
            self.sim.repair(host, other);
        }
    }

    fn act_on_disk(&self, action: &Action) {
        let disk = &self.agent.disk;
        let failing = std::io::ErrorKind::Other;
        match action {
            Action::FillDisk => disk.set_capacity(disk.used()),
            Action::FreeDisk => disk.set_capacity(u64::MAX),
            Action::FailFlush => disk.fail_next(Operation::Sync, failing),
            Action::FailWrite => disk.fail_next(Operation::Write, failing),
            Action::SlowDisk(by) => self.agent.slow.store(*by, Ordering::Relaxed),
            _ => {}
        }
        self.tell(match action {
            Action::FillDisk => Fact::DiskBad("full"),
            Action::SlowDisk(by) if *by > 0 => Fact::DiskBad("slow"),
            Action::FailFlush => Fact::DiskBad("fails a flush"),
            Action::FailWrite => Fact::DiskBad("fails a write"),
            _ => Fact::DiskGood,
        });
        if matches!(action, Action::FailFlush | Action::FailWrite) {
            self.tell(Fact::DiskGood);
        }
    }

    fn end_agent(&mut self, end: AgentEnd) {
        self.wanted = false;
        match end {
            AgentEnd::InOrder => self.agent.stop_in_order(),
            AgentEnd::Killed => self.crash_agent(Crash::Process, "killed"),
            AgentEnd::PowerCut => self.crash_agent(Crash::Power, "power cut"),
            AgentEnd::PowerCutWithin(calls) => {
                let disk = &self.agent.disk;
                disk.die_at(disk.calls() + calls);
            }
        }
    }

    fn start_agent(&mut self) {
        if self.agent.is_up() {
            // The end that was meant for it has not come.
            self.crash_agent(Crash::Power, "power cut");
        }
        self.start(AGENT);
        (self.wanted, self.next_start) = (true, self.now() + SUPERVISOR);
    }

    /// The power may have gone within a call, or a start have failed.
    fn look_after_agent(&mut self) {
        if self.agent.disk.is_dead() {
            self.crash_agent(Crash::Power, "power cut");
        }
        let down = !self.sim.is_host_running(AGENT);
        if self.wanted && down && self.now() >= self.next_start {
            self.start_agent();
        }
    }

    fn crash_agent(&mut self, crash: Crash, how: &'static str) {
        self.agent.cut_off();
        self.crash(AGENT);
        self.agent.settle(crash);
        self.tell(Fact::AgentDown(how));
    }

    /// The books at the end, and once more after a last power cut.
    fn judge(&mut self, plan: &Plan) -> Vec<Violation> {
        let Some(store) = self.agent.store() else {
            return Vec::new();
        };
        let facts = self.history.facts();
        let (sums, broken) = (self.plane.sums(), self.plane.broken());
        let evidence = Evidence::gather(facts.clone(), plan, store.inner(), sums, broken);
        let mut violations = invariants::all(&evidence, store.inner());
        drop(store);
        self.crash_agent(Crash::Power, "power cut at the end");
        match self.agent.open() {
            Ok(again) => violations.extend(invariants::after_the_end(&evidence, again.inner())),
            Err(error) => violations.push(Violation {
                invariant: "G1",
                what: format!("the store does not open at the end: {error:?}"),
            }),
        }
        violations
    }
}
