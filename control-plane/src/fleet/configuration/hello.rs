//! The answer to a hello: what the agent says it holds, compared with what it shall hold.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::Stream;
use hookplane_proto::agent::v1::{ConfigurationStreamRequest, Held};
use tonic::Status;

use super::aim::Aim;
use super::refusals::parked_key;
use super::session::Session;
use crate::fleet::Ending;
use crate::fleet::held::{self, Key, Set};
use crate::fleet::recorder::Urgency;

impl<I> Session<'_, I>
where
    I: Stream<Item = Result<ConfigurationStreamRequest, Status>> + Unpin,
{
    pub(super) async fn answer_hello(&mut self, claimed: Held) -> Result<(), Ending> {
        self.changes.mark_unchanged();
        let config = &self.streams.config;
        let unknown = {
            let changes = config.changes();
            let known = changes.borrow();
            claimed.revision > known.revision || claimed.epoch != known.epoch
        };
        if unknown {
            // Another replica may be ahead of what is known here.
            config.refresh().await?;
        }
        let mut newest = self.streams.views.newest(&self.agent.pool).await?;
        if claimed.epoch == newest.head.epoch && claimed.revision > newest.head.revision {
            self.begin_epoch(&claimed).await?;
            newest = self.streams.views.newest(&self.agent.pool).await?;
        }
        let same_lineage = claimed.epoch == newest.head.epoch;
        self.observe(claimed);
        let mut aim = self.aim().await?;
        if same_lineage {
            self.held = self.recognised(&aim);
            if let Some(held) = &self.held {
                aim = self.aim_at(Arc::clone(&aim.view), Some(held));
            }
        }
        if self.held.is_some() && self.observed.digest == aim.set.digest {
            self.nacked.clear();
            self.observed.drifted_at = None;
        }
        self.note(Urgency::Soon, true);
        let behind = self.observed.revision != aim.view.head.revision;
        match &self.held {
            None => self.say_snapshot(aim).await,
            Some(held) if !behind && self.way(held, &aim).is_empty => self.say_current(aim).await,
            Some(_) => self.say_delta(aim).await,
        }
    }

    /// The set behind the digest that the agent named.
    fn recognised(&self, aim: &Aim) -> Option<Arc<Set>> {
        let observed = &self.observed;
        let (epoch, digest) = (&observed.epoch, &observed.digest);
        if let Some(known) = self.streams.known(&self.agent, epoch, digest) {
            return Some(known);
        }
        if *digest == aim.set.digest {
            return Some(Arc::clone(&aim.set));
        }
        // What it would hold had it refused the same as ever: this process may be
        // new, and a refused version shall not be sent again for that.
        let refused: BTreeSet<Key> = self
            .nacked
            .iter()
            .filter_map(parked_key)
            .filter(|(key, version)| aim.set.versions.get(key) == Some(version))
            .map(|(key, _)| key)
            .collect();
        if refused.is_empty() {
            return None;
        }
        let left = Set::new(held::without(&aim.set.versions, None, &refused));
        (left.digest == *digest).then_some(left)
    }

    /// The agent holds a revision that this database never made: it was restored from an
    /// older copy. Its revisions would come to mean two things, so they start anew.
    async fn begin_epoch(&mut self, claimed: &Held) -> Result<(), Ending> {
        let config = &self.streams.config;
        if config.begin_epoch(&claimed.epoch).await? {
            tracing::warn!(
                agent.id = %self.agent.id,
                config.revision = claimed.revision,
                "an agent holds a newer revision than the database: it was restored; a new epoch begins"
            );
        }
        config.refresh().await?;
        self.changes.mark_unchanged();
        Ok(())
    }
}
