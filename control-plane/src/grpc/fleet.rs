//! `hookplane.v1.FleetService`: agents and what they do.

use std::collections::HashMap;

use hookplane_proto::v1;
use hookplane_proto::v1::fleet_service_server::FleetService;
use tonic::{Code, Request, Response, Status};

use super::{caller, status, wanted};
use crate::domain::{Agent, Histogram, Violation};
use crate::fleet::Fleet;
use crate::store::config::Head;
use crate::store::reports::{MINUTE, SourceSum};
use crate::store::{PageRequest, StoreError};
use crate::wire::{pagination, timestamp};

pub(super) mod refused;
mod standing;

type Reply<T> = Result<Response<T>, Status>;

const DEFAULT_WINDOW: u32 = 5;
const MAX_WINDOW: u32 = 1_440;
/// Rows of each breakdown.
const BUSIEST: u64 = 100;
/// Agents of one status; `ListAgents` has them all, by pages.
const STATUS_AGENTS: u32 = 255;

pub struct FleetApi {
    fleet: Fleet,
}

impl FleetApi {
    #[must_use]
    pub const fn new(fleet: Fleet) -> Self {
        Self { fleet }
    }

    pub(super) fn message(&self, agent: Agent, head: &Head) -> v1::Agent {
        let connected = self.fleet.is_connected(&agent);
        let config_state = if agent.drifted_at.is_some() {
            v1::ConfigState::Drifted
        } else if self.fleet.is_held_back(&agent) {
            v1::ConfigState::HeldBack
        } else if !self.fleet.is_current(&agent, head) {
            v1::ConfigState::Pending
        } else if agent.refused.is_empty() {
            v1::ConfigState::Current
        } else {
            v1::ConfigState::Refused
        };
        let state = if agent.revoked_at.is_some() {
            v1::AgentState::Revoked
        } else if connected {
            v1::AgentState::Connected
        } else {
            v1::AgentState::Disconnected
        };
        let refused = |one: crate::domain::RefusedResource| v1::RefusedResource {
            kind: one.kind,
            id: one.id,
            version: one.version,
            reason: one.reason,
            message: one.message,
        };
        v1::Agent {
            id: agent.id,
            name: agent.name,
            pool: agent.pool,
            version: agent.version,
            store: agent.store,
            state: state.into(),
            config_state: config_state.into(),
            epoch: agent.epoch,
            revision: agent.revision,
            digest: agent.digest,
            connected_at: agent.connected_at.map(timestamp),
            last_seen_at: agent.last_seen_at.map(timestamp),
            refused: agent.refused.into_iter().map(refused).collect(),
            backlog: agent.backlog,
            created_at: Some(timestamp(agent.created_at)),
            capabilities: agent.capabilities,
            drifted_at: agent.drifted_at.map(timestamp),
            revoked_at: agent.revoked_at.map(timestamp),
            certificate_expires_at: agent.certificate_expires_at.map(timestamp),
        }
    }

    async fn sources(
        &self,
        team: &str,
        sums: Vec<SourceSum>,
    ) -> Result<Vec<v1::SourceThroughput>, StoreError> {
        let ids = sums.iter().map(|sum| sum.source_id.clone()).collect();
        let known = self.fleet.config().sources_by_id(team, ids).await?;
        let names: HashMap<_, _> = known
            .into_iter()
            .map(|(id, source)| (id, source.spec.name))
            .collect();
        let row = |sum: SourceSum| v1::SourceThroughput {
            source_name: names.get(&sum.source_id).cloned().unwrap_or_default(),
            source_id: sum.source_id,
            event_type: sum.event_type,
            received: sum.received,
            accepted: sum.accepted,
            rejected: sum.rejected,
            repeats: sum.repeats,
            accept_p50_ms: millis(&sum.latency, 0.5),
            accept_p99_ms: millis(&sum.latency, 0.99),
        };
        Ok(sums.into_iter().map(row).collect())
    }
}

#[tonic::async_trait]
impl FleetService for FleetApi {
    async fn list_agents(
        &self,
        request: Request<v1::ListAgentsRequest>,
    ) -> Reply<v1::ListAgentsResponse> {
        let team = caller(&request)?.team_id;
        let asked = request.into_inner();
        let page = PageRequest::parse("name", "asc", asked.limit, &asked.page_token)
            .map_err(|fault| status::page(&fault))?;
        let pool = wanted("pool", asked.pool)?;
        let mut found = self.fleet.agents().list(pool.as_deref(), &page).await?;
        refused::of_team(self.fleet.config(), &team, &mut found.rows).await?;
        let head = self.fleet.config().head().await?;
        let pagination = Some(pagination(&found));
        let models: Vec<_> = found
            .rows
            .into_iter()
            .map(|agent| self.message(agent, &head))
            .collect();
        Ok(Response::new(v1::ListAgentsResponse {
            pagination,
            count: models.len() as u32,
            models,
        }))
    }

    async fn get_agent(&self, request: Request<v1::GetAgentRequest>) -> Reply<v1::Agent> {
        let team = caller(&request)?.team_id;
        let id = request.into_inner().id;
        let head = self.fleet.config().head().await?;
        let mut found = self.fleet.agents().get(&id).await?;
        refused::of_team(self.fleet.config(), &team, found.as_mut_slice()).await?;
        match found {
            Some(agent) => Ok(Response::new(self.message(agent, &head))),
            None => Err(status::refused(
                Code::NotFound,
                "RESOURCE_NOT_FOUND",
                format!("there is no agent `{}`", status::shown(&id)),
                "list the agents to see which there are",
            )),
        }
    }

    async fn get_status(&self, request: Request<v1::GetStatusRequest>) -> Reply<v1::Status> {
        let team = caller(&request)?.team_id;
        let window = window(request.into_inner().window_minutes)?;
        let now = self.fleet.clock().now_millis();
        // The minute under way counts as one of the window.
        let from = now - (i64::from(window) - 1) * MINUTE;
        let reports = self.fleet.report_store();
        let totals = reports.totals(&team, from).await?;
        let by_source = reports.by_source(&team, from, BUSIEST).await?;
        let by_destination = reports.by_destination(&team, from, BUSIEST).await?;
        let counts = self.fleet.config().counts(&team).await?;
        let head = self.fleet.config().head().await?;
        let page = PageRequest::parse("name", "asc", STATUS_AGENTS, "")
            .map_err(|fault| status::page(&fault))?;
        let mut agents = self.fleet.agents().list(None, &page).await?.rows;
        refused::of_team(self.fleet.config(), &team, &mut agents).await?;
        let connected = agents.iter().filter(|agent| self.fleet.is_connected(agent));
        let backlog = connected
            .map(|agent| agent.backlog)
            .fold(0, u64::saturating_add);
        let names = agents
            .iter()
            .map(|agent| (agent.id.clone(), agent.name.clone()))
            .collect();
        let count = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        Ok(Response::new(v1::Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            agents: agents
                .into_iter()
                .map(|agent| self.message(agent, &head))
                .collect(),
            epoch: head.epoch,
            revision: head.revision,
            sources: count(counts.sources),
            connections: count(counts.connections),
            destinations: count(counts.destinations),
            throughput: Some(v1::Throughput {
                window_minutes: window,
                received: totals.received,
                accepted: totals.accepted,
                rejected: totals.rejected,
                repeats: totals.repeats,
                attempts: totals.attempts,
                successful: totals.successful,
                failed: totals.failed,
            }),
            by_source: self.sources(&team, by_source).await?,
            by_destination: standing::rows(&self.fleet, &team, by_destination, names).await?,
            backlog,
            unserved_pools: self.fleet.agents().unserved_pools(&team).await?,
        }))
    }
}

fn window(minutes: u32) -> Result<u32, Status> {
    match minutes {
        0 => Ok(DEFAULT_WINDOW),
        1..=MAX_WINDOW => Ok(minutes),
        other => {
            let text = format!("{other} minutes; 1 to {MAX_WINDOW} are possible");
            Err(status::invalid(&[Violation::new("window_minutes", text)]))
        }
    }
}

/// A percentile of microseconds in milliseconds; 0 when nothing was measured.
fn millis(latency: &Histogram, q: f64) -> f64 {
    latency.quantile(q).map_or(0.0, |micros| micros / 1_000.0)
}
