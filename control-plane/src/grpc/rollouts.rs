//! `hookplane.v1.RolloutService`: what is on its way through a pool, and how it goes on.

use hookplane_proto::v1;
use hookplane_proto::v1::rollout_service_server::RolloutService;
use tonic::{Code, Request, Response, Status};

use super::{caller, required, status, wanted};
use crate::domain::Violation;
use crate::domain::rollout::{Rollout, RolloutPolicy, RolloutState};
use crate::fleet::Fleet;
use crate::store::StoreError;
use crate::store::rollouts::Judged;
use crate::wire::timestamp;

type Reply<T> = Result<Response<T>, Status>;

const DEFAULT_PAGE: u32 = 100;
const MAX_PAGE: u32 = 255;
const DEFAULT_MAX_FAILURE: u32 = 20;
const MAX_REASON: usize = 500;

pub struct RolloutApi {
    fleet: Fleet,
}

impl RolloutApi {
    #[must_use]
    pub const fn new(fleet: Fleet) -> Self {
        Self { fleet }
    }

    async fn found(&self, id: &str) -> Result<Rollout, Status> {
        let found = self.fleet.rollouts().get(id).await?;
        found.ok_or_else(|| {
            status::refused(
                Code::NotFound,
                "RESOURCE_NOT_FOUND",
                format!("there is no rollout `{}`", status::shown(id)),
                "list the rollouts to see which there are",
            )
        })
    }

    async fn message(&self, rollout: Rollout) -> Result<v1::Rollout, StoreError> {
        let rollouts = self.fleet.rollouts();
        let members = rollouts.members(&rollout.agents).await?;
        let resources = rollouts.resources(&rollout.id).await?;
        let revision = rollout.revision;
        let agents = members.into_iter().map(|member| v1::RolloutAgent {
            acknowledged: member.revision >= revision,
            id: member.id,
            name: member.name,
        });
        let resource = |one: crate::domain::rollout::RolloutResource| v1::RolloutResource {
            kind: one.kind,
            id: one.id,
        };
        let at = |millis: i64| (millis > 0).then(|| timestamp(millis));
        Ok(v1::Rollout {
            agents: agents.collect(),
            resources: resources.into_iter().map(resource).collect(),
            id: rollout.id,
            pool: rollout.pool,
            state: state(rollout.state).into(),
            base_revision: rollout.base_revision,
            revision,
            ended_revision: rollout.ended_revision.unwrap_or_default(),
            policy: Some(policy(rollout.policy)),
            started_at: at(rollout.started_at),
            changed_at: at(rollout.changed_at),
            ended_at: rollout.ended_at.map(timestamp),
            reason: rollout.reason,
        })
    }

    /// The revision that a caller decided about: the one named, or what there is now.
    async fn looked_at(&self, id: &str, revision: u64) -> Result<u64, Status> {
        let rollout = self.found(id).await?;
        Ok(match revision {
            0 => rollout.revision,
            named => named,
        })
    }

    /// What became of a rollout that somebody wanted to end.
    async fn ended(&self, id: &str, ended: bool) -> Reply<v1::Rollout> {
        let rollout = self.found(id).await?;
        if ended {
            return Ok(Response::new(self.message(rollout).await?));
        }
        if rollout.state == RolloutState::Holding {
            return Err(status::refused(
                Code::Aborted,
                "ROLLOUT_CHANGED",
                format!(
                    "the rollout is at revision {} by now: another change joined it",
                    rollout.revision
                ),
                "look at the rollout again before you end it",
            ));
        }
        Err(status::refused(
            Code::FailedPrecondition,
            "ROLLOUT_ENDED",
            format!("the rollout has ended: {}", rollout.state.word()),
            "change the configuration again; that begins another rollout",
        ))
    }
}

#[tonic::async_trait]
impl RolloutService for RolloutApi {
    async fn list_rollouts(
        &self,
        request: Request<v1::ListRolloutsRequest>,
    ) -> Reply<v1::ListRolloutsResponse> {
        caller(&request)?;
        let asked = request.into_inner();
        let limit = limit(asked.limit)?;
        let pool = wanted("pool", asked.pool)?;
        let before = wanted("page_token", asked.page_token)?;
        let more = u64::from(limit) + 1;
        let list = self.fleet.rollouts();
        let mut rows = list.list(pool.as_deref(), before.as_deref(), more).await?;
        let has_more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let last = rows.last().map(|row| row.id.clone());
        let mut models = Vec::with_capacity(rows.len());
        for row in rows {
            models.push(self.message(row).await?);
        }
        Ok(Response::new(v1::ListRolloutsResponse {
            pagination: Some(v1::Pagination {
                order_by: "created_at".to_owned(),
                dir: "desc".to_owned(),
                limit,
                next: last.filter(|_| has_more).unwrap_or_default(),
            }),
            count: models.len() as u32,
            models,
        }))
    }

    async fn get_rollout(&self, request: Request<v1::GetRolloutRequest>) -> Reply<v1::Rollout> {
        caller(&request)?;
        let rollout = self.found(&request.into_inner().id).await?;
        Ok(Response::new(self.message(rollout).await?))
    }

    async fn promote_rollout(
        &self,
        request: Request<v1::PromoteRolloutRequest>,
    ) -> Reply<v1::Rollout> {
        let caller = caller(&request)?;
        let v1::PromoteRolloutRequest {
            id,
            reason,
            revision,
        } = request.into_inner();
        let revision = self.looked_at(&id, revision).await?;
        let reason = told("promoted", &caller.key_id, &reason)?;
        let now = self.fleet.clock().now_millis();
        let judged = Judged {
            id: &id,
            revision,
            reason: &reason,
        };
        let ended = self
            .fleet
            .rollouts()
            .promote(judged, &(&caller).into(), now)
            .await?;
        self.ended(&id, ended).await
    }

    async fn return_rollout(
        &self,
        request: Request<v1::ReturnRolloutRequest>,
    ) -> Reply<v1::Rollout> {
        let caller = caller(&request)?;
        let v1::ReturnRolloutRequest {
            id,
            reason,
            revision,
        } = request.into_inner();
        let revision = self.looked_at(&id, revision).await?;
        let reason = told("returned", &caller.key_id, &reason)?;
        let now = self.fleet.clock().now_millis();
        let judged = Judged {
            id: &id,
            revision,
            reason: &reason,
        };
        let ended = self
            .fleet
            .rollouts()
            .give_back(judged, &(&caller).into(), now)
            .await?;
        self.ended(&id, ended).await
    }

    async fn list_rollout_policies(
        &self,
        request: Request<v1::ListRolloutPoliciesRequest>,
    ) -> Reply<v1::ListRolloutPoliciesResponse> {
        caller(&request)?;
        let all = self.fleet.rollouts().policies().await?;
        let models = all.into_iter().map(policy).collect();
        Ok(Response::new(v1::ListRolloutPoliciesResponse { models }))
    }

    async fn set_rollout_policy(
        &self,
        request: Request<v1::SetRolloutPolicyRequest>,
    ) -> Reply<v1::RolloutPolicy> {
        let by = (&caller(&request)?).into();
        let v1::SetRolloutPolicyRequest {
            policy: asked,
            pool,
        } = request.into_inner();
        let asked = required("policy", asked)?;
        let set = RolloutPolicy {
            pool: if pool.is_empty() { asked.pool } else { pool },
            share_percent: asked.share_percent,
            hold_seconds: asked.hold_seconds,
            max_failure_percent: match asked.max_failure_percent {
                0 => DEFAULT_MAX_FAILURE,
                percent => percent,
            },
            updated_at: self.fleet.clock().now_millis(),
        };
        let faults = set.faults();
        if !faults.is_empty() {
            return Err(status::invalid(&faults));
        }
        self.fleet.rollouts().set_policy(&set, &by).await?;
        Ok(Response::new(policy(set)))
    }

    async fn delete_rollout_policy(
        &self,
        request: Request<v1::DeleteRolloutPolicyRequest>,
    ) -> Reply<v1::DeleteRolloutPolicyResponse> {
        let by = (&caller(&request)?).into();
        let pool = request.into_inner().pool;
        let now = self.fleet.clock().now_millis();
        if self.fleet.rollouts().delete_policy(&pool, &by, now).await? {
            return Ok(Response::new(v1::DeleteRolloutPolicyResponse {}));
        }
        Err(status::refused(
            Code::NotFound,
            "RESOURCE_NOT_FOUND",
            format!("the pool `{}` has no rollout policy", status::shown(&pool)),
            "list the policies to see which there are",
        ))
    }
}

fn policy(policy: RolloutPolicy) -> v1::RolloutPolicy {
    v1::RolloutPolicy {
        updated_at: (policy.updated_at > 0).then(|| timestamp(policy.updated_at)),
        pool: policy.pool,
        share_percent: policy.share_percent,
        hold_seconds: policy.hold_seconds,
        max_failure_percent: policy.max_failure_percent,
    }
}

const fn state(state: RolloutState) -> v1::RolloutState {
    match state {
        RolloutState::Holding => v1::RolloutState::Holding,
        RolloutState::Promoted => v1::RolloutState::Promoted,
        RolloutState::Returned => v1::RolloutState::Returned,
    }
}

/// Who ended it, and what they said.
fn told(what: &str, key_id: &str, reason: &str) -> Result<String, Status> {
    let too_long = reason.chars().count() > MAX_REASON;
    if too_long || reason.chars().any(char::is_control) {
        let fault = format!("at most {MAX_REASON} characters, in one line");
        return Err(status::invalid(&[Violation::new("reason", fault)]));
    }
    let by = format!("{what} by {key_id}");
    Ok(match reason {
        "" => by,
        reason => format!("{by}: {reason}"),
    })
}

fn limit(asked: u32) -> Result<u32, Status> {
    match asked {
        0 => Ok(DEFAULT_PAGE),
        1..=MAX_PAGE => Ok(asked),
        other => {
            let text = format!("{other} rows; 1 to {MAX_PAGE} are possible");
            Err(status::invalid(&[Violation::new("limit", text)]))
        }
    }
}
