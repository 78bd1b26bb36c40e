//! `rollouts`: changes that reach a share of a pool first, and how they go on.

use clap::Subcommand;
use hookplane_client::Client;
use hookplane_client::v1::{
    DeleteRolloutPolicyRequest, GetRolloutRequest, ListRolloutPoliciesRequest, ListRolloutsRequest,
    PromoteRolloutRequest, ReturnRolloutRequest, Rollout, RolloutPolicy, RolloutState,
    SetRolloutPolicyRequest,
};

use crate::failure::Failure;
use crate::json::to_json;
use crate::output::{Output, Table, day_time};
use crate::resources::{Page, PageArgs, each_page};

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum RolloutsVerb {
    /// Show all rollouts, newest first
    List {
        /// Of this pool
        #[arg(long)]
        pool: Option<String>,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Show one: its share, what it changes, what it waits for
    Get {
        /// `rol_…`
        id: String,
    },
    /// Give every agent what the share has
    Promote {
        /// `rol_…`
        id: String,
        /// Kept with the rollout
        #[arg(long, default_value = "")]
        reason: String,
        /// The revision of the rollout that you looked at; refused when another change joined since
        #[arg(long, default_value_t = 0)]
        revision: u64,
    },
    /// Take the changes back: a new revision with the content of before
    Return {
        /// `rol_…`
        id: String,
        /// Kept with the rollout
        #[arg(long, default_value = "")]
        reason: String,
        /// The revision of the rollout that you looked at; refused when another change joined since
        #[arg(long, default_value_t = 0)]
        revision: u64,
    },
    /// Which pools get changes in stages
    #[command(subcommand)]
    Policy(PolicyVerb),
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum PolicyVerb {
    /// Show all policies
    List,
    /// Roll changes of a pool out in stages, from the next one on
    Set {
        /// Name of the pool
        pool: String,
        /// Percent of its agents that get a change first
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=99))]
        share: u32,
        /// Seconds until the rest follows; 0 waits for `promote`
        #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(0..=86_400))]
        hold: u32,
        /// Percent points by which failures may rise before a change returns
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
        max_failure: u32,
    },
    /// Let changes of a pool reach every agent at once again
    Delete {
        /// Name of the pool
        pool: String,
    },
}

pub(crate) async fn run(
    verb: RolloutsVerb,
    client: &Client,
    output: &mut Output,
) -> Result<(), Failure> {
    match verb {
        RolloutsVerb::List { pool, page } => {
            list(pool.unwrap_or_default(), &page, client, output).await
        }
        RolloutsVerb::Get { id } => {
            let request = GetRolloutRequest { id };
            let found = client.rollouts().get_rollout(request).await?.into_inner();
            show(&found, output)
        }
        RolloutsVerb::Promote {
            id,
            reason,
            revision,
        } => {
            let request = PromoteRolloutRequest {
                id,
                reason,
                revision,
            };
            let ended = client.rollouts().promote_rollout(request).await?;
            ended_now(&ended.into_inner(), output)
        }
        RolloutsVerb::Return {
            id,
            reason,
            revision,
        } => {
            let request = ReturnRolloutRequest {
                id,
                reason,
                revision,
            };
            let ended = client.rollouts().return_rollout(request).await?;
            ended_now(&ended.into_inner(), output)
        }
        RolloutsVerb::Policy(verb) => policy(verb, client, output).await,
    }
}

async fn list(
    pool: String,
    page: &PageArgs,
    client: &Client,
    output: &mut Output,
) -> Result<(), Failure> {
    let listed = each_page(page, async |limit, page_token| {
        let request = ListRolloutsRequest {
            limit,
            page_token,
            pool: pool.clone(),
        };
        let answer = client.rollouts().list_rollouts(request).await?.into_inner();
        Ok(Page::whole(answer.pagination, answer.models))
    })
    .await?;
    if output.is_json() {
        return output.json(&listed.envelope(to_json));
    }
    let mut table = Table::new(&[
        "id", "pool", "state", "revision", "share", "since", "reason",
    ]);
    for rollout in &listed.models {
        table.row([
            rollout.id.clone(),
            rollout.pool.clone(),
            state(rollout).to_owned(),
            rollout.revision.to_string(),
            share(rollout),
            day_time(rollout.started_at.as_ref()),
            rollout.reason.clone(),
        ]);
    }
    output.table(&table)?;
    listed.mention_rest(output);
    Ok(())
}

fn show(rollout: &Rollout, output: &mut Output) -> Result<(), Failure> {
    if output.is_json() {
        return output.json(&to_json(rollout));
    }
    let policy = rollout.policy.clone().unwrap_or_default();
    output.table(&Table::of_values([
        ("id", rollout.id.clone()),
        ("pool", rollout.pool.clone()),
        ("state", state(rollout).to_owned()),
        ("reason", rollout.reason.clone()),
        (
            "revisions",
            format!("{} on top of {}", rollout.revision, rollout.base_revision),
        ),
        ("hold", format!("{} s", policy.hold_seconds)),
        ("started", day_time(rollout.started_at.as_ref())),
        ("ended", day_time(rollout.ended_at.as_ref())),
    ]))?;
    let mut agents = Table::new(&["agent", "name", "has it"]);
    for agent in &rollout.agents {
        let has = if agent.acknowledged { "yes" } else { "no" };
        agents.row([agent.id.clone(), agent.name.clone(), has.to_owned()]);
    }
    output.table(&agents)?;
    if rollout.resources.is_empty() {
        return Ok(());
    }
    let mut changed = Table::new(&["changes", "id"]);
    for resource in &rollout.resources {
        changed.row([resource.kind.clone(), resource.id.clone()]);
    }
    output.table(&changed)
}

fn ended_now(rollout: &Rollout, output: &mut Output) -> Result<(), Failure> {
    if output.is_json() {
        return output.json(&to_json(rollout));
    }
    output.line(&format!(
        "{} is {}, by revision {}",
        rollout.id,
        state(rollout),
        rollout.ended_revision
    ))
}

async fn policy(verb: PolicyVerb, client: &Client, output: &mut Output) -> Result<(), Failure> {
    match verb {
        PolicyVerb::List => {
            let request = ListRolloutPoliciesRequest {};
            let all = client.rollouts().list_rollout_policies(request).await?;
            policies(&all.into_inner().models, output)
        }
        PolicyVerb::Set {
            pool,
            share,
            hold,
            max_failure,
        } => {
            let policy = RolloutPolicy {
                pool: pool.clone(),
                share_percent: share,
                hold_seconds: hold,
                max_failure_percent: max_failure,
                updated_at: None,
            };
            let request = SetRolloutPolicyRequest {
                policy: Some(policy),
                pool,
            };
            let set = client.rollouts().set_rollout_policy(request).await?;
            policies(&[set.into_inner()], output)
        }
        PolicyVerb::Delete { pool } => {
            let request = DeleteRolloutPolicyRequest { pool: pool.clone() };
            client.rollouts().delete_rollout_policy(request).await?;
            output.line(&format!("changes of {pool} reach every agent at once"))
        }
    }
}

fn policies(all: &[RolloutPolicy], output: &mut Output) -> Result<(), Failure> {
    if output.is_json() {
        let all: Vec<_> = all.iter().map(to_json).collect();
        return output.json(&serde_json::Value::Array(all));
    }
    let mut table = Table::new(&["pool", "share", "hold", "failures may rise by"]);
    for policy in all {
        table.row([
            policy.pool.clone(),
            format!("{} %", policy.share_percent),
            format!("{} s", policy.hold_seconds),
            format!("{} points", policy.max_failure_percent),
        ]);
    }
    output.table(&table)
}

fn share(rollout: &Rollout) -> String {
    let have = rollout.agents.iter().filter(|agent| agent.acknowledged);
    format!("{} of {}", have.count(), rollout.agents.len())
}

fn state(rollout: &Rollout) -> &'static str {
    match rollout.state() {
        RolloutState::Holding => "holding",
        RolloutState::Promoted => "promoted",
        RolloutState::Returned => "returned",
        RolloutState::Unspecified => "",
    }
}
