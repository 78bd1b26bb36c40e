//! `hookplane.v1.ConfigurationService`: whole configurations, and the wait for agents.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hookplane_proto::v1;
use hookplane_proto::v1::configuration_service_server::ConfigurationService;
use prost::Message as _;
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::changing::parts;
use super::fleet::refused;
use super::{caller, conditions, status};
use crate::domain::Violation;
use crate::fleet::{Condition, Fleet, Stand, Subject};
use crate::service::{
    Applied, Call, Conditioned, Configuration, FilterDraft, ServiceError, Wanted, WantedConnection,
};
use crate::wire::{connection, destination, filter, plan, source};

mod left;
mod shadow;

use left::LeftPools;

type Reply<T> = Result<Response<T>, Status>;

/// Within the deadline of every call.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
const MOST_POOLS: usize = 1_000;

pub struct ConfigurationApi {
    configuration: Configuration,
    fleet: Fleet,
    longest_wait: Duration,
    left: LeftPools,
}

impl ConfigurationApi {
    /// No wait is longer than `within`, which is what a call may take.
    #[must_use]
    pub fn new(configuration: Configuration, fleet: Fleet, within: Duration) -> Self {
        Self {
            configuration,
            fleet,
            longest_wait: LONGEST_WAIT.min(within / 2),
            left: LeftPools::default(),
        }
    }

    /// The answer with the team's pools of now, beside those that the call left.
    async fn answer(
        &self,
        team: &str,
        mut answer: v1::ApplyConfigurationResponse,
    ) -> Result<v1::ApplyConfigurationResponse, Status> {
        let mut left = std::mem::take(&mut answer.pools);
        answer.pools = self.configuration.store().pools_of_team(team).await?;
        left.retain(|pool| !answer.pools.contains(pool));
        answer.pools.extend(left.iter().cloned());
        answer.pools.sort_unstable();
        self.left.note(team, left.into_iter());
        Ok(answer)
    }

    /// Pools that a wait of the team is about: its own, or those asked for which it has
    /// or lately had sources in.
    async fn pools(&self, team: &str, asked: Vec<String>) -> Result<Vec<String>, Status> {
        let own = self.configuration.store().pools_of_team(team).await?;
        if asked.is_empty() {
            return Ok(own);
        }
        let is_known = |pool: &String| own.contains(pool) || self.left.has(team, pool);
        Ok(asked.into_iter().filter(is_known).collect())
    }

    /// How the live agents stand, and those that are away.
    async fn stand(&self, team: &str, subject: &Subject, since: u64) -> Result<Standing, Status> {
        let found = self.fleet.conditions(subject).await?;
        let (mut live, away): (Vec<_>, Vec<_>) = found.into_iter().partition(|one| one.connected);
        self.only_refused_of(team, &mut live).await?;
        let agents = u32::try_from(live.len()).unwrap_or(u32::MAX);
        let lagging = |one| lagging(one, since);
        let behind: Vec<_> = live.into_iter().filter_map(lagging).collect();
        // Who refuses will not change its mind by waiting. Judged by all of them: those
        // that wait may be behind the cut.
        let settled = behind.iter().all(|one| one.stand != Stand::Pending);
        let cut = |some: Vec<Condition>| {
            let some = some.into_iter().take(conditions::MOST);
            some.map(conditions::message).collect()
        };
        let answer = v1::WaitAppliedResponse {
            applied: behind.is_empty(),
            revision: subject.revision,
            behind: cut(behind),
            agents,
            away: cut(away),
            pools: subject.pools.clone(),
        };
        Ok(Standing { answer, settled })
    }

    async fn only_refused_of(&self, team: &str, found: &mut [Condition]) -> Result<(), Status> {
        let mut agents: Vec<_> = found.iter().map(|one| one.agent.clone()).collect();
        let store = self.configuration.store();
        refused::of_team(store, team, &mut agents).await?;
        for (one, agent) in found.iter_mut().zip(agents) {
            one.agent = agent;
        }
        Ok(())
    }
}

/// What is answered and remembered; its pools are those that sources were in.
fn told(applied: &Applied) -> v1::ApplyConfigurationResponse {
    // Where a source was taken away its agents have to let go of it.
    let mut pools: Vec<_> = applied.steps.iter().filter_map(plan::pool_before).collect();
    pools.sort_unstable();
    pools.dedup();
    v1::ApplyConfigurationResponse {
        changes: applied.steps.iter().map(plan::message).collect(),
        revision: applied.revision,
        pools,
    }
}

/// What a wait would answer now, and whether waiting can change it.
struct Standing {
    answer: v1::WaitAppliedResponse,
    settled: bool,
}

/// One that has not acknowledged it, or refuses what changed with it or later. What was
/// refused before is shown on the resource and is no matter of this revision.
fn lagging(mut condition: Condition, since: u64) -> Option<Condition> {
    if condition.stand == Stand::Applied {
        let mut refused = condition.agent.refused.iter();
        let refused = refused.find(|one| one.version >= since)?;
        condition.stand = Stand::Refused {
            reason: refused.reason.clone(),
            message: format!("{} {}: {}", refused.kind, refused.id, refused.message),
        };
    }
    Some(condition)
}

fn wanted(asked: v1::ApplyConfigurationRequest) -> Result<Wanted, ServiceError> {
    let mut faults = Vec::new();
    let mut wanted = Wanted {
        prune: prune(&asked.prune_label, &mut faults),
        filters: asked.filters.into_iter().map(conditioned_filter).collect(),
        ..Wanted::default()
    };
    for (place, message) in asked.sources.into_iter().enumerate() {
        let etag = message.etag.clone();
        match source::draft(message) {
            Ok(draft) => wanted.sources.push(conditioned(draft, etag)),
            Err(found) => faults.extend(inside("sources", place, found)),
        }
    }
    for (place, message) in asked.destinations.into_iter().enumerate() {
        let etag = message.etag.clone();
        match destination::draft(message) {
            Ok(draft) => wanted.destinations.push(conditioned(draft, etag)),
            Err(found) => faults.extend(inside("destinations", place, found)),
        }
    }
    for (place, message) in asked.connections.into_iter().enumerate() {
        let source_name = message.source.as_ref().map(|end| end.name.clone());
        let destination_name = message.destination.as_ref().map(|end| end.name.clone());
        let etag = Some(message.etag.clone()).filter(|etag| !etag.is_empty());
        match connection::draft(message) {
            Ok(draft) => wanted.connections.push(WantedConnection {
                draft,
                etag,
                source_name: source_name.unwrap_or_default(),
                destination_name: destination_name.unwrap_or_default(),
            }),
            Err(found) => faults.extend(inside("connections", place, found)),
        }
    }
    if faults.is_empty() {
        Ok(wanted)
    } else {
        Err(faults.into())
    }
}

fn unreadable(fault: impl std::fmt::Display) -> Status {
    Status::internal(format!("a remembered answer cannot be read: {fault}"))
}

fn conditioned_filter(message: v1::Filter) -> Conditioned<FilterDraft> {
    let etag = message.etag.clone();
    conditioned(filter::draft(message), etag)
}

fn conditioned<D>(draft: D, etag: String) -> Conditioned<D> {
    Conditioned {
        draft,
        etag: Some(etag).filter(|etag| !etag.is_empty()),
    }
}

fn prune(label: &str, faults: &mut Vec<Violation>) -> Option<(String, String)> {
    if label.is_empty() {
        return None;
    }
    let pair = label.split_once('=').filter(|(key, _)| !key.is_empty());
    if pair.is_none() {
        let text = "a label is given as `key=value`";
        faults.push(Violation::new("prune_label", text));
    }
    pair.map(|(key, value)| (key.to_owned(), value.to_owned()))
}

fn inside(list: &str, place: usize, faults: Vec<Violation>) -> impl Iterator<Item = Violation> {
    let list = list.to_owned();
    faults.into_iter().map(move |fault| Violation {
        field: format!("{list}[{place}].{}", fault.field),
        message: fault.message,
    })
}

#[tonic::async_trait]
impl ConfigurationService for ConfigurationApi {
    async fn apply_configuration(
        &self,
        request: Request<v1::ApplyConfigurationRequest>,
    ) -> Reply<v1::ApplyConfigurationResponse> {
        let (call, asked) = parts(request)?;
        let wanted = wanted(asked)?;
        let tell = |applied: &Applied| STANDARD.encode(told(applied).encode_to_vec());
        let answer = self.configuration.apply(&call, wanted, tell).await?;
        let answer = STANDARD.decode(answer).map_err(unreadable)?;
        let answer = v1::ApplyConfigurationResponse::decode(answer.as_slice());
        let answer = answer.map_err(unreadable)?;
        Ok(Response::new(self.answer(&call.team_id, answer).await?))
    }

    async fn evaluate_shadow(
        &self,
        request: Request<v1::EvaluateShadowRequest>,
    ) -> Reply<v1::EvaluateShadowResponse> {
        let call = Call::of_team(&caller(&request)?.team_id);
        let asked = request.into_inner();
        let found = shadow::evaluate(&self.configuration, &self.fleet, &call, asked).await?;
        Ok(Response::new(found))
    }

    async fn wait_applied(
        &self,
        request: Request<v1::WaitAppliedRequest>,
    ) -> Reply<v1::WaitAppliedResponse> {
        let team = caller(&request)?.team_id;
        let asked = request.into_inner();
        let store = self.configuration.store();
        let newest = store.head().await?.revision;
        if asked.revision > newest {
            let text = format!(
                "there is no revision {} yet; {newest} is the newest",
                asked.revision
            );
            return Err(status::invalid(&[Violation::new("revision", text)]));
        }
        if asked.pools.len() > MOST_POOLS {
            let text = format!("at most {MOST_POOLS} pools are possible");
            return Err(status::invalid(&[Violation::new("pools", text)]));
        }
        if asked
            .pools
            .iter()
            .any(|pool| pool.chars().any(char::is_control))
        {
            let text = "holds control characters, which nothing has";
            return Err(status::invalid(&[Violation::new("pools", text)]));
        }
        let subject = Subject {
            revision: if asked.revision == 0 {
                newest
            } else {
                asked.revision
            },
            pools: self.pools(&team, asked.pools).await?,
            resources: Vec::new(),
        };
        let wait = match asked.timeout_ms {
            0 => self.longest_wait,
            millis => Duration::from_millis(u64::from(millis)).min(self.longest_wait),
        };
        let until = Instant::now() + wait;
        let mut pause = FIRST_PAUSE;
        loop {
            // Of the newest one when none is named: then all that is refused counts.
            let standing = self.stand(&team, &subject, asked.revision).await?;
            if standing.settled || Instant::now() + pause > until {
                return Ok(Response::new(standing.answer));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}
