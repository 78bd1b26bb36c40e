//! Lists that come in pages: one page, or all of them behind `--all`.

use hookplane_client::v1::{Pagination, UnreachableAgent};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output::Output;

/// Largest page there is.
const MAX_PAGE: u32 = 255;
/// Most rows `--all` gathers; more would not be read by anybody.
const MAX_ROWS: usize = 100_000;

/// How much of a list is wanted.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct PageArgs {
    /// Rows, 1 to 255
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=255))]
    pub(crate) limit: u32,
    /// Page after page until the end
    #[arg(long, conflicts_with = "limit")]
    pub(crate) all: bool,
    /// Token of the page, from the page before
    #[arg(long, value_name = "TOKEN", conflicts_with = "all")]
    pub(crate) page_token: Option<String>,
}

/// One page, or several put together.
pub(crate) struct Page<M> {
    pub(crate) pagination: Pagination,
    pub(crate) models: Vec<M>,
    pub(crate) partial: bool,
    pub(crate) unreachable: Vec<UnreachableAgent>,
}

impl<M> Page<M> {
    /// A page that no agent had to answer for.
    pub(crate) fn whole(pagination: Option<Pagination>, models: Vec<M>) -> Self {
        Self {
            pagination: pagination.unwrap_or_default(),
            models,
            partial: false,
            unreachable: Vec::new(),
        }
    }

    /// The list as REST answers it.
    pub(crate) fn envelope(&self, to_json: impl Fn(&M) -> Value) -> Value {
        let models: Vec<Value> = self.models.iter().map(to_json).collect();
        json!({
            "pagination": crate::json::to_json(&self.pagination),
            "next_cursor": self.pagination.next,
            "count": models.len(),
            "models": models,
            "partial": self.partial,
            "unreachable": unreachable_json(&self.unreachable),
        })
    }

    /// Says that there is more, and how to get it.
    pub(crate) fn mention_rest(&self, output: &mut Output) {
        warn_of_partial(self.partial, &self.unreachable, output);
        if !self.pagination.next.is_empty() {
            output.note(&format!(
                "there is more: --all, or --page-token {}",
                self.pagination.next
            ));
        }
    }
}

/// Names the agents that an answer lacks.
pub(crate) fn warn_of_partial(partial: bool, lacking: &[UnreachableAgent], output: &mut Output) {
    if !partial {
        return;
    }
    let names: Vec<String> = lacking
        .iter()
        .map(|agent| format!("{} ({})", agent.name, agent.reason))
        .collect();
    output.warning(&format!(
        "the answer is partial, it lacks what is held by {}",
        if names.is_empty() {
            "an agent out of reach".to_owned()
        } else {
            names.join(", ")
        }
    ));
}

fn unreachable_json(agents: &[UnreachableAgent]) -> Value {
    agents
        .iter()
        .map(
            |agent| json!({"agent_id": agent.agent_id, "name": agent.name, "reason": agent.reason}),
        )
        .collect()
}

/// Asks for one page, or for all of them.
pub(crate) async fn each_page<M, F>(
    wanted: &PageArgs,
    mut ask: impl FnMut(u32, String) -> F,
) -> Result<Page<M>, Failure>
where
    F: Future<Output = Result<Page<M>, Failure>>,
{
    let limit = if wanted.all { MAX_PAGE } else { wanted.limit };
    let token = wanted.page_token.clone().unwrap_or_default();
    let mut gathered = ask(limit, token).await?;
    while wanted.all && !gathered.pagination.next.is_empty() && gathered.models.len() < MAX_ROWS {
        let mut page = ask(limit, gathered.pagination.next.clone()).await?;
        gathered.models.append(&mut page.models);
        gathered.pagination = page.pagination;
        gathered.partial |= page.partial;
        gathered.unreachable.extend(page.unreachable);
    }
    Ok(gathered)
}
