//! The one owner of what is held: puts a change on disk, then in force.
//!
//! Survives sessions of the stream. The order matters: a change is acknowledged
//! only when a restart would find it.

use std::path::Path;
use std::sync::Arc;

use hookplane_proto::agent::v1::{Held, Refusal};
use thiserror::Error;

use super::disk::{DiskCopy, DiskError};
use super::identity::Identity;
use super::ledger::{Change, Changed, Ledger, Misfit};
use crate::causes::chain;
use crate::clock::SharedClock;
use crate::config::CurrentConfiguration;
use crate::readiness::{Origin, Readiness};

/// Where the disk copy is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writing {
    /// On a thread for blocking work, so that nobody else waits for the disk.
    Aside,
    /// At once, on the thread that asks: the same order of things in every run.
    #[cfg(feature = "simulation")]
    InPlace,
}

/// Held configuration with its disk copy.
pub(crate) struct Holder {
    ledger: Ledger,
    /// Taken while a write is under way.
    disk: Option<DiskCopy>,
    current: CurrentConfiguration,
    readiness: Arc<Readiness>,
    clock: SharedClock,
    writing: Writing,
}

/// Why a change was not taken over.
#[derive(Debug, Error)]
pub(super) enum NotApplied {
    #[error(transparent)]
    Misfit(#[from] Misfit),
    #[error("the configuration could not be kept on disk")]
    Disk(#[from] DiskError),
    #[error("the write of the configuration was lost")]
    WriterGone,
}

impl Holder {
    /// Puts the last good configuration of the folder in force. Blocks on the disk.
    pub(crate) fn open(
        dir: &Path,
        identity: &Identity,
        current: CurrentConfiguration,
        readiness: Arc<Readiness>,
        clock: SharedClock,
        writing: Writing,
    ) -> Self {
        let mut disk = DiskCopy::new(dir, &identity.seal_key());
        let (found, faults) = disk.load();
        for fault in faults {
            let text = chain(&fault);
            tracing::error!(error = text, "a copy of the configuration cannot be used");
            readiness.warn("disk_copy_broken", text);
        }
        let mut holder = Self {
            ledger: Ledger::default(),
            disk: Some(disk),
            current,
            readiness,
            clock,
            writing,
        };
        if let Some(generation) = found {
            let ledger = Ledger::restore(generation);
            tracing::info!(
                revision = ledger.configuration.revision,
                "the last good configuration is in force"
            );
            let refused = ledger.refused_count();
            holder.put_in_force(ledger, Origin::Disk, refused);
        }
        holder
    }

    /// What to offer in the Hello; `None` before the first configuration.
    pub(super) fn held(&self) -> Option<Held> {
        self.ledger.is_complete().then(|| self.ledger.held())
    }

    /// The control plane says that there is nothing newer. False when it means something else
    /// than what is held.
    pub(super) fn confirm(&mut self, theirs: &Held) -> bool {
        if !self.ledger.agrees_with(theirs) {
            return false;
        }
        let now = self.clock.now_millis();
        self.readiness.update(|facts| {
            facts.origin = Origin::ControlPlane;
            facts.confirmed_at = Some(now);
        });
        true
    }

    /// The control plane's newest revision, as its heartbeats tell it.
    pub(super) fn heard(&self, revision: u64) {
        let now = self.clock.now_millis();
        if revision == self.ledger.configuration.revision {
            self.readiness
                .update(|facts| facts.confirmed_at = Some(now));
        }
    }

    /// Applies a change: on disk first, then in force. Gives what was refused.
    pub(super) async fn apply(&mut self, change: Change) -> Result<Vec<Refusal>, NotApplied> {
        let Changed { ledger, refused } = self.ledger.apply(change)?;
        let mut disk = self.disk.take().ok_or(NotApplied::WriterGone)?;
        let generation = ledger.generation();
        let write = move || {
            let outcome = disk.save(&generation);
            (disk, outcome)
        };
        let (disk, outcome) = match self.writing {
            Writing::Aside => {
                let written = tokio::task::spawn_blocking(write).await;
                written.map_err(|_| NotApplied::WriterGone)?
            }
            #[cfg(feature = "simulation")]
            Writing::InPlace => write(),
        };
        self.disk = Some(disk);
        outcome?;
        for refusal in &refused {
            let id = refusal.key.as_ref().map_or("", |key| key.id.as_str());
            tracing::warn!(
                resource.id = id,
                reason = refusal.reason,
                error = refusal.message,
                "a resource is refused and keeps its previous state"
            );
        }
        let count = refused.len() as u64;
        self.put_in_force(ledger, Origin::ControlPlane, count);
        Ok(refused)
    }

    pub(super) fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    fn put_in_force(&mut self, ledger: Ledger, origin: Origin, refused: u64) {
        self.current.store(Arc::clone(&ledger.configuration));
        let (epoch, revision) = (
            ledger.configuration.epoch.clone(),
            ledger.configuration.revision,
        );
        let now = self.clock.now_millis();
        self.readiness.update(|facts| {
            facts.origin = origin;
            facts.epoch = epoch;
            facts.revision = revision;
            facts.refused = refused;
            if origin == Origin::ControlPlane {
                facts.confirmed_at = Some(now);
            }
        });
        self.ledger = ledger;
    }
}
