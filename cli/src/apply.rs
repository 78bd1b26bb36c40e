//! `apply`: files with the whole configuration, made so as often as one likes.
//!
//! Owns what is read, what is told of each resource, and the wait for the agents.
//! Refuses to judge or to compare: the control plane does both, in one transaction,
//! so a fault anywhere leaves everything as it was. Invariants: all files are read
//! and their shape understood before anything is sent; a second run changes nothing
//! and says so; what the files do not name is left alone unless a label gives it up.

use std::path::PathBuf;
use std::time::Duration;

use hookplane_client::Client;
use hookplane_client::v1::{
    ApplyConfigurationRequest, ApplyConfigurationResponse, ChangeAction, FieldChange, PlannedChange,
};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output::{Output, Tone};

mod confirm;
mod document;
mod files;
mod reference;
mod wait;

pub(crate) use document::Document;

/// Flags of `apply`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ApplyArgs {
    /// TOML or JSON file, or a folder of them with its sub-folders; `-` reads standard input
    #[arg(short, long, value_name = "PATH")]
    file: PathBuf,
    /// Show what would change, judged by the control plane, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Delete what has this label and is not in the files, with what depends on it
    #[arg(long, value_name = "LABEL=VALUE")]
    prune: Option<String>,
    /// Delete without asking; only a terminal is asked
    #[arg(long, requires = "prune")]
    yes: bool,
    /// Value of `${NAME}` in the files; the environment is asked for the others
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = assignment)]
    variables: Vec<(String, String)>,
    /// Seconds to wait until every live agent has it; 0 does not wait
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    wait: u64,
}

/// `NAME=VALUE`.
pub(crate) fn assignment(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| "a variable is given as `NAME=value`".to_owned())
}

/// Runs the command.
pub(crate) async fn run(
    args: &ApplyArgs,
    client: &Client,
    output: &mut Output,
) -> Result<(), Failure> {
    let document = Document::read(&args.file, &args.variables)?;
    let asked = ApplyConfigurationRequest {
        sources: document.sources,
        destinations: document.destinations,
        filters: document.filters,
        connections: document.connections,
        prune_label: args.prune.clone().unwrap_or_default(),
        validate_only: args.dry_run,
        // A call whose answer got lost is not made twice.
        request_id: format!("apply-{:032x}", rand::random::<u128>()),
    };
    if args.prune.is_some() && !args.dry_run {
        let plan = ApplyConfigurationRequest {
            validate_only: true,
            request_id: String::new(),
            ..asked.clone()
        };
        let plan = Box::pin(client.configuration().apply_configuration(plan)).await;
        let plan = plan.map_err(Failure::from)?.into_inner();
        confirm::plan(&plan, args.yes, output)?;
    }
    let answer = Box::pin(client.configuration().apply_configuration(asked)).await;
    let applied = answer.map_err(Failure::from)?.into_inner();
    if !output.is_json() {
        for change in &applied.changes {
            tell(change, args.dry_run, output)?;
        }
    }
    let waited = if args.dry_run || args.wait == 0 {
        None
    } else {
        let patience = Duration::from_secs(args.wait);
        Some(wait::applied(client, &applied, patience).await?)
    };
    if output.is_json() {
        output.json(&whole(&applied, args.dry_run, waited.as_ref()))?;
    }
    match waited {
        Some(waited) => waited.judge(output),
        None => Ok(()),
    }
}

fn word(action: ChangeAction) -> (&'static str, Tone) {
    match action {
        ChangeAction::Create => ("created", Tone::Good),
        ChangeAction::Update => ("updated", Tone::Waiting),
        ChangeAction::Delete => ("deleted", Tone::Bad),
        ChangeAction::Unchanged | ChangeAction::Unspecified => ("unchanged", Tone::Quiet),
    }
}

/// What happens to it, and why.
fn fate(change: &PlannedChange, dry_run: bool) -> String {
    let (word, _) = word(change.action());
    let mut text = if dry_run && change.action() != ChangeAction::Unchanged {
        format!("would be {word}")
    } else {
        word.to_owned()
    };
    if !change.because.is_empty() {
        text.push_str(&format!(", with {}", change.because));
    }
    text
}

fn tell(change: &PlannedChange, dry_run: bool, output: &mut Output) -> Result<(), Failure> {
    let (_, tone) = word(change.action());
    let text = output.paint(tone, &fate(change, dry_run));
    output.line(&format!("{:<11} {:<28} {text}", change.kind, change.name))?;
    for field in &change.fields {
        output.untrusted(&format!("            {}", changed(field)))?;
    }
    Ok(())
}

fn changed(field: &FieldChange) -> String {
    if field.before.is_empty() && field.after.is_empty() {
        return format!("{}: another secret", field.path);
    }
    format!("{}: {} -> {}", field.path, field.before, field.after)
}

fn whole(
    applied: &ApplyConfigurationResponse,
    dry_run: bool,
    waited: Option<&wait::Waited>,
) -> Value {
    let resource = |change: &PlannedChange| {
        let (word, _) = word(change.action());
        json!({
            "kind": change.kind, "name": change.name, "id": change.id, "action": word,
            "changes": change.fields.iter().map(changed).collect::<Vec<_>>(),
            "because": change.because,
        })
    };
    json!({
        "dry_run": dry_run,
        "revision": applied.revision,
        "resources": applied.changes.iter().map(resource).collect::<Vec<_>>(),
        "applied": waited.map(wait::Waited::to_json),
    })
}
