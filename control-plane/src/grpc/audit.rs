//! `hookplane.v1.AuditService`: what was changed, and which agents have it.

use hookplane_proto::v1;
use hookplane_proto::v1::audit_service_server::AuditService;
use tonic::{Request, Response, Status};

use super::evidence::query::Check;
use super::{caller, status, wanted};
use crate::domain::audit::Entry;
use crate::domain::{Agent, Violation};
use crate::fleet::Fleet;
use crate::store::{AuditFilter, PageRequest};
use crate::wire::{audit, millis, timestamp};

type Reply<T> = Result<Response<T>, Status>;

/// Entries that one call checks.
const CHECKED: u64 = 5_000;
/// Agents that an entry tells of.
const AGENTS: u32 = 255;
const HASH: usize = 64;

pub struct AuditApi {
    fleet: Fleet,
}

impl AuditApi {
    #[must_use]
    pub const fn new(fleet: Fleet) -> Self {
        Self { fleet }
    }

    async fn agents(&self) -> Result<Vec<Agent>, Status> {
        let page = PageRequest::parse("name", "asc", AGENTS, "");
        let page = page.map_err(|fault| status::page(&fault))?;
        Ok(self.fleet.agents().list(None, &page).await?.rows)
    }

    fn filter(&self, asked: &mut v1::ListAuditRequest) -> Result<AuditFilter, Status> {
        let mut check = Check::default();
        check.limit(&mut asked.limit);
        let bounded = [!asked.from.trim().is_empty(), !asked.to.trim().is_empty()];
        let now = self.fleet.clock().now_millis();
        let range = check.range(&mut asked.from, &mut asked.to, now);
        check.done()?;
        let take = std::mem::take::<String>;
        Ok(AuditFilter {
            kind: wanted("resource_type", take(&mut asked.resource_type))?,
            id: wanted("resource_id", take(&mut asked.resource_id))?,
            key_id: wanted("key_id", take(&mut asked.key_id))?,
            action: wanted("action", take(&mut asked.action))?,
            from: range.from.filter(|_| bounded[0]).map(millis),
            to: range.to.filter(|_| bounded[1]).map(millis),
        })
    }
}

#[tonic::async_trait]
impl AuditService for AuditApi {
    async fn list_audit(
        &self,
        request: Request<v1::ListAuditRequest>,
    ) -> Reply<v1::ListAuditResponse> {
        let team = caller(&request)?.team_id;
        let mut asked = request.into_inner();
        let filter = self.filter(&mut asked)?;
        let before = token(&asked.page_token)?;
        let ledger = self.fleet.config().ledger();
        // One more tells whether there is a next page.
        let limit = u64::from(asked.limit);
        let mut found = ledger.list(&team, &filter, before, limit + 1).await?;
        let more = found.len() as u64 > limit;
        found.truncate(asked.limit as usize);
        let next = found.last().filter(|_| more).map(|last| last.sequence);
        let agents = self.agents().await?;
        let model = |entry| v1::AuditEntry {
            agents: applied(&entry, &agents),
            ..audit::message(entry)
        };
        let models: Vec<_> = found.into_iter().map(model).collect();
        Ok(Response::new(v1::ListAuditResponse {
            pagination: Some(v1::Pagination {
                order_by: "created_at".to_owned(),
                dir: "desc".to_owned(),
                limit: asked.limit,
                next: next
                    .map(|sequence| sequence.to_string())
                    .unwrap_or_default(),
            }),
            count: u32::try_from(models.len()).unwrap_or(u32::MAX),
            models,
        }))
    }

    async fn verify_audit(
        &self,
        request: Request<v1::VerifyAuditRequest>,
    ) -> Reply<v1::VerifyAuditResponse> {
        let team = caller(&request)?.team_id;
        let asked = request.into_inner();
        let (after, hash) = (asked.after_sequence, asked.after_hash);
        let is_hash = hash.len() == HASH && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        if (after == 0 && !hash.is_empty()) || (after > 0 && !is_hash) {
            let fault = "give it with the sequence that it was answered with";
            return Err(status::invalid(&[Violation::new("after_hash", fault)]));
        }
        let ledger = self.fleet.config().ledger();
        let checked = ledger.check(&team, after, &hash, CHECKED).await?;
        let (broken, fault) = checked.fault.unwrap_or_default();
        if broken > 0 {
            tracing::error!(team.id = %team, sequence = broken, fault, "the audit record is broken");
        }
        Ok(Response::new(v1::VerifyAuditResponse {
            sequence: checked.sequence,
            hash: checked.hash,
            complete: checked.complete,
            broken_sequence: broken,
            fault: fault.to_owned(),
        }))
    }
}

/// How agents stand to what an entry made: those of its lineage say what they have.
fn applied(entry: &Entry, agents: &[Agent]) -> Vec<v1::AgentApplied> {
    let Some(revision) = entry.revision else {
        return Vec::new();
    };
    let stand = |agent: &Agent| v1::AgentApplied {
        agent_id: agent.id.clone(),
        name: agent.name.clone(),
        applied: agent.epoch == entry.epoch && agent.revision >= revision,
        last_seen_at: agent.last_seen_at.map(timestamp),
    };
    agents.iter().map(stand).collect()
}

fn token(text: &str) -> Result<Option<u64>, Status> {
    if text.is_empty() {
        return Ok(None);
    }
    let fault = "the token is not one that this list gave; start again without it";
    let wrong = |_| status::invalid(&[Violation::new("page_token", fault)]);
    text.parse().map(Some).map_err(wrong)
}
