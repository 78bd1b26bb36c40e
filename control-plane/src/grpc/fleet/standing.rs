//! The destinations of a status: what was attempted, and how the agents stand to them.

use std::collections::{HashMap, HashSet};

use hookplane_proto::v1;

use super::millis;
use crate::domain::{CircuitState, DestinationState, Millis};
use crate::fleet::Fleet;
use crate::store::StoreError;
use crate::store::reports::DestinationSum;
use crate::wire::timestamp;

/// Rows beyond those that were attempted.
const MOST_NEWS: usize = 100;

/// One row per destination that was attempted or is held back somewhere.
pub(super) async fn rows(
    fleet: &Fleet,
    team: &str,
    mut sums: Vec<DestinationSum>,
    agent_names: HashMap<String, String>,
) -> Result<Vec<v1::DestinationThroughput>, StoreError> {
    let mut at_agents: HashMap<String, Vec<v1::DestinationAtAgent>> = HashMap::new();
    let mut news = Vec::new();
    for standing in fleet.report_store().standings(team).await? {
        let name = agent_names.get(&standing.agent_id);
        let name = name.cloned().unwrap_or_default();
        for state in standing.states {
            if state.is_news() {
                news.push(state.destination_id.clone());
            }
            let id = state.destination_id.clone();
            let told = at_agent(state, (&standing.agent_id, &name), standing.reported_at);
            at_agents.entry(id).or_default().push(told);
        }
    }
    let mut known: HashSet<String> = sums.iter().map(|sum| sum.destination_id.clone()).collect();
    news.retain(|id| known.insert(id.clone()));
    sums.extend(news.into_iter().take(MOST_NEWS).map(|id| DestinationSum {
        destination_id: id,
        ..DestinationSum::default()
    }));
    let ids = sums.iter().map(|sum| sum.destination_id.clone()).collect();
    let names: HashMap<_, _> = fleet
        .config()
        .destinations_by_id(team, ids)
        .await?
        .into_iter()
        .map(|(id, destination)| (id, destination.spec.name))
        .collect();
    let row = |sum: DestinationSum| v1::DestinationThroughput {
        destination_name: names.get(&sum.destination_id).cloned().unwrap_or_default(),
        attempts: sum.attempts,
        successful: sum.successful,
        failed: sum.failed,
        delivery_p50_ms: millis(&sum.times.latency, 0.5),
        delivery_p99_ms: millis(&sum.times.latency, 0.99),
        start_delay_p50_ms: millis(&sum.times.start_delay, 0.5),
        start_delay_p99_ms: millis(&sum.times.start_delay, 0.99),
        delivered_after_p50_ms: millis(&sum.times.delivered_after, 0.5),
        delivered_after_p99_ms: millis(&sum.times.delivered_after, 0.99),
        agents: at_agents.remove(&sum.destination_id).unwrap_or_default(),
        destination_id: sum.destination_id,
    };
    Ok(sums.into_iter().map(row).collect())
}

fn at_agent(
    state: DestinationState,
    (id, name): (&str, &str),
    reported_at: Millis,
) -> v1::DestinationAtAgent {
    let circuit = match state.circuit {
        CircuitState::Closed => v1::CircuitState::Closed,
        CircuitState::Open => v1::CircuitState::Open,
        CircuitState::HalfOpen => v1::CircuitState::HalfOpen,
    };
    v1::DestinationAtAgent {
        agent_id: id.to_owned(),
        agent_name: name.to_owned(),
        circuit: circuit.into(),
        open_since: state.open_since.map(timestamp),
        next_probe_at: state.next_probe_at.map(timestamp),
        in_flight: state.in_flight,
        concurrency_limit: state.concurrency_limit,
        held_until: state.held_until.map(timestamp),
        disable_requested_at: state.disable_requested_at.map(timestamp),
        reported_at: Some(timestamp(reported_at)),
    }
}
