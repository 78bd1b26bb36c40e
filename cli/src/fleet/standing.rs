//! How agents stand to a destination, in words.

use hookplane_client::v1::{CircuitState, DestinationAtAgent};

use crate::output::day_time;

/// Over all agents in one word or two.
pub(super) fn summary(agents: &[DestinationAtAgent]) -> String {
    let at = |state: CircuitState| agents.iter().filter(|at| at.circuit() == state).count();
    let limit: u32 = agents.iter().map(|at| at.concurrency_limit).sum();
    match (at(CircuitState::Open), at(CircuitState::HalfOpen)) {
        (0, 0) if agents.is_empty() => String::new(),
        (0, 0) => format!("up to {limit} at once"),
        (0, _) => "half open".to_owned(),
        (open, _) if open == agents.len() => "open".to_owned(),
        (open, _) => format!("open at {open} of {}", agents.len()),
    }
}

/// What holds deliveries back at one agent; `None` when nothing does.
pub(super) fn held_back(at: &DestinationAtAgent) -> Option<String> {
    let agent = if at.agent_name.is_empty() {
        &at.agent_id
    } else {
        &at.agent_name
    };
    let mut said = Vec::new();
    match at.circuit() {
        CircuitState::Open => said.push(format!(
            "circuit open since {}, next probe {}",
            day_time(at.open_since.as_ref()),
            day_time(at.next_probe_at.as_ref())
        )),
        CircuitState::HalfOpen => said.push(format!(
            "circuit half open, failing since {}",
            day_time(at.open_since.as_ref())
        )),
        CircuitState::Closed | CircuitState::Unspecified => {}
    }
    if at.disable_requested_at.is_some() {
        let when = day_time(at.disable_requested_at.as_ref());
        said.push(format!(
            "the receiver asked to be disabled {when}; the decision is yours"
        ));
    }
    (!said.is_empty()).then(|| format!("at {agent}: {}", said.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(circuit: CircuitState, concurrency_limit: u32) -> DestinationAtAgent {
        DestinationAtAgent {
            agent_name: "a".into(),
            circuit: circuit.into(),
            concurrency_limit,
            ..DestinationAtAgent::default()
        }
    }

    #[test]
    fn one_open_circuit_among_agents_is_not_lost_in_the_sum() {
        let (open, closed) = (at(CircuitState::Open, 1), at(CircuitState::Closed, 8));
        assert_eq!(
            summary(&[closed.clone(), closed.clone()]),
            "up to 16 at once"
        );
        assert_eq!(summary(&[open.clone(), closed.clone()]), "open at 1 of 2");
        assert_eq!(summary(std::slice::from_ref(&open)), "open");
        assert!(held_back(&closed).is_none());
        assert!(held_back(&open).unwrap().contains("circuit open"));
    }
}
