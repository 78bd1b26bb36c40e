//! How agents stand to a resource, or to a revision: applied, refused, pending.

use super::Fleet;
use crate::domain::{Agent, RefusedResource};
use crate::store::StoreError;
use crate::store::config::Head;

/// What of the configuration is asked about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// Agents of these pools.
    pub pools: Vec<String>,
    /// Kind and id as agents name them in refusals; any of them counts.
    pub resources: Vec<(&'static str, String)>,
    /// The revision that holds it.
    pub revision: u64,
}

/// How one agent stands.
#[derive(Clone, Debug)]
pub struct Condition {
    pub agent: Agent,
    /// Whether its configuration stream is open.
    pub connected: bool,
    pub stand: Stand,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stand {
    Applied,
    Refused { reason: String, message: String },
    Pending,
}

impl Fleet {
    /// How each agent of the subject's pools stands to it, by name of the agent.
    ///
    /// # Errors
    /// [`StoreError`] when the agents are not known.
    pub async fn conditions(&self, subject: &Subject) -> Result<Vec<Condition>, StoreError> {
        if subject.pools.is_empty() {
            return Ok(Vec::new());
        }
        let head = self.config().head().await?;
        let agents = self.agents().of_pools(&subject.pools).await?;
        let condition = |agent: Agent| Condition {
            connected: self.is_connected(&agent),
            stand: self.stand(&agent, subject, &head),
            agent,
        };
        Ok(agents.into_iter().map(condition).collect())
    }

    fn stand(&self, agent: &Agent, subject: &Subject, head: &Head) -> Stand {
        let held = agent.epoch == head.epoch && agent.revision >= subject.revision;
        if !held && !self.is_current(agent, head) {
            return Stand::Pending;
        }
        let is_meant = |refused: &&RefusedResource| {
            let mut named = subject.resources.iter();
            named.any(|(kind, id)| *kind == refused.kind && *id == refused.id)
        };
        match agent.refused.iter().find(is_meant) {
            Some(refused) => Stand::Refused {
                reason: refused.reason.clone(),
                message: refused.message.clone(),
            },
            None => Stand::Applied,
        }
    }
}
