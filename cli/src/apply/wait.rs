//! The wait until agents have a revision, and what is said when they do not.

use std::time::Duration;

use hookplane_client::Client;
use hookplane_client::v1::{
    AgentCondition, ApplyConfigurationResponse, ConditionState, WaitAppliedRequest,
    WaitAppliedResponse,
};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::failure::Failure;
use crate::output::Output;

/// How the agents stood when the wait ended.
pub(super) struct Waited {
    stand: WaitAppliedResponse,
}

/// Asks until all have it, one refuses it, or the time is over.
pub(super) async fn applied(
    client: &Client,
    applied: &ApplyConfigurationResponse,
    patience: Duration,
) -> Result<Waited, Failure> {
    let until = Instant::now() + patience;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let asked = WaitAppliedRequest {
            revision: applied.revision,
            pools: applied.pools.clone(),
            timeout_ms: u32::try_from(left.as_millis()).unwrap_or(u32::MAX).max(1),
        };
        let stand = client.configuration().wait_applied(asked).await?;
        let stand = stand.into_inner();
        let pending = |one: &AgentCondition| one.state() == ConditionState::Pending;
        if !stand.behind.iter().any(pending) || Instant::now() >= until {
            return Ok(Waited { stand });
        }
    }
}

impl Waited {
    pub(super) fn to_json(&self) -> Value {
        let agent = |one: &AgentCondition| {
            json!({
                "agent": one.agent_name, "pool": one.pool, "revision": one.revision,
                "refused": one.state() == ConditionState::Refused,
                "reason": one.reason, "message": one.message,
            })
        };
        let all = |some: &[AgentCondition]| some.iter().map(agent).collect::<Vec<_>>();
        json!({
            "done": self.stand.applied,
            "agents": self.stand.agents,
            "behind": all(&self.stand.behind),
            "away": all(&self.stand.away),
        })
    }

    /// Says how it ended; an agent that does not have it makes the command fail.
    pub(super) fn judge(&self, output: &mut Output) -> Result<(), Failure> {
        let stand = &self.stand;
        for away in &stand.away {
            output.note(&format!(
                "agent {} is away and gets it when it returns",
                away.agent_name
            ));
        }
        if stand.applied {
            if stand.agents > 0 {
                output.note(&format!(
                    "revision {} is in force at {} agent(s)",
                    stand.revision, stand.agents
                ));
            }
            return Ok(());
        }
        let mut failure = Failure::new(
            "NOT_APPLIED",
            format!(
                "{} agent(s) have not applied revision {}; it is stored all the same",
                stand.behind.len(),
                stand.revision
            ),
        )
        .hint("`hookplane agents list` shows what each agent holds and refuses");
        for one in &stand.behind {
            let what = match one.state() {
                ConditionState::Refused => format!("refused, {}: {}", one.reason, one.message),
                _ => format!("it has revision {}", one.revision),
            };
            failure.fields.push((one.agent_name.clone(), what));
        }
        Err(failure)
    }
}
