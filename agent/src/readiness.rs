//! Whether the agent can do its work, and why not: what `/readyz` tells.
//!
//! Owns the facts that the parts report. Refuses to act on them. Ready means:
//! enrolled once, a configuration in force (from the control plane or from
//! disk), a store that takes writes, and no shutdown under way. A control plane
//! that is away does not make an agent unready (G5).

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

/// Facts under one lock, set rarely and read by the admin listener.
#[derive(Default)]
pub(crate) struct Readiness(Mutex<Facts>);

/// Where the configuration in force came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Origin {
    #[default]
    None,
    Disk,
    ControlPlane,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Reason {
    /// `not_enrolled`, `no_configuration`, `store_not_writable`, `stopping`.
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) enrolled: bool,
    /// Why enrolment does not succeed, when it was tried.
    pub(crate) enrolment_problem: Option<Reason>,
    pub(crate) origin: Origin,
    pub(crate) epoch: String,
    pub(crate) revision: u64,
    /// Unix milliseconds when the control plane last said that this revision is current.
    pub(crate) confirmed_at: Option<u64>,
    pub(crate) connected: bool,
    /// Why there is no configuration stream.
    pub(crate) connection_problem: Option<String>,
    /// Resources that the agent would not apply.
    pub(crate) refused: u64,
    pub(crate) store_problem: Option<String>,
    pub(crate) stopping: bool,
    /// Faults that a person should look at although the agent works.
    pub(crate) warnings: Vec<Reason>,
}

/// The answer of `/readyz`.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) ready: bool,
    pub(crate) reasons: Vec<Reason>,
    configuration: ConfigurationReport,
    control_plane: ControlPlaneReport,
    warnings: Vec<Reason>,
}

#[derive(Debug, Serialize)]
struct ConfigurationReport {
    origin: Origin,
    epoch: String,
    revision: u64,
    refused: u64,
    /// Since the control plane last said that this revision is current.
    age_seconds: Option<u64>,
}

#[derive(Debug, Serialize)]
struct ControlPlaneReport {
    connected: bool,
    problem: Option<String>,
}

impl Readiness {
    pub(crate) fn update(&self, change: impl FnOnce(&mut Facts)) {
        change(&mut self.lock());
    }

    pub(crate) fn facts(&self) -> Facts {
        self.lock().clone()
    }

    /// Adds a warning, or replaces the one of the same code.
    pub(crate) fn warn(&self, code: &'static str, message: String) {
        let mut facts = self.lock();
        facts.warnings.retain(|warning| warning.code != code);
        facts.warnings.push(Reason { code, message });
    }

    pub(crate) fn report(&self, now_millis: u64) -> Report {
        let facts = self.facts();
        let reasons = facts.reasons();
        Report {
            ready: reasons.is_empty(),
            reasons,
            configuration: ConfigurationReport {
                origin: facts.origin,
                epoch: facts.epoch,
                revision: facts.revision,
                refused: facts.refused,
                age_seconds: facts
                    .confirmed_at
                    .map(|at| now_millis.saturating_sub(at) / 1_000),
            },
            control_plane: ControlPlaneReport {
                connected: facts.connected,
                problem: facts.connection_problem,
            },
            warnings: facts.warnings,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Facts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Facts {
    pub(crate) fn reasons(&self) -> Vec<Reason> {
        let mut reasons = Vec::new();
        if self.stopping {
            reasons.push(reason("stopping", "the agent is shutting down"));
        }
        if !self.enrolled {
            let problem = self.enrolment_problem.clone();
            reasons.push(problem.unwrap_or_else(|| {
                reason("not_enrolled", "the control plane has not answered yet")
            }));
        }
        if self.origin == Origin::None {
            let message = "no configuration has arrived and none is on disk";
            reasons.push(reason("no_configuration", message));
        }
        if let Some(problem) = &self.store_problem {
            reasons.push(reason("store_not_writable", problem));
        }
        reasons
    }
}

fn reason(code: &'static str, message: &str) -> Reason {
    Reason {
        code,
        message: message.to_owned(),
    }
}
