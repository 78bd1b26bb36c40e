//! `shadow`: what files with a configuration would have made of the requests of the last hours.
//!
//! Owns how the comparison is shown. Refuses to compare: the agents do, where the payloads are.

use std::path::PathBuf;

use hookplane_client::Client;
use hookplane_client::v1::{
    EvaluateShadowRequest, EvaluateShadowResponse, ShadowConnection, ShadowDifference, ShadowSource,
};

use crate::apply::{Document, assignment};
use crate::failure::Failure;
use crate::json::to_json;
use crate::output::{Output, Table, Tone, count};
use crate::resources::warn_of_partial;

/// Flags of `shadow`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ShadowArgs {
    /// TOML or JSON file, or a folder of them, as `apply` reads it; `-` reads standard input
    #[arg(short, long, value_name = "PATH")]
    file: PathBuf,
    /// Value of `${NAME}` in the files; the environment is asked for the others
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = assignment)]
    variables: Vec<(String, String)>,
    /// As if what has this label and is not in the files were deleted
    #[arg(long, value_name = "LABEL=VALUE")]
    prune: Option<String>,
    /// How far back requests are looked at, from now on: `30m`, `6h`, `2d`
    #[arg(long, value_name = "TIME", default_value = "1h", conflicts_with_all = ["from", "to"])]
    window: String,
    /// Start: RFC 3339, or `now-24h` style
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// End: RFC 3339, or `now-5m` style
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Requests that each agent looks at per source, the newest first
    #[arg(long, value_name = "COUNT", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    limit: u32,
    /// End with 1 when a request would be refused, or an event lost or failed
    #[arg(long)]
    strict: bool,
}

/// Runs the command.
pub(crate) async fn run(
    args: &ShadowArgs,
    client: &Client,
    output: &mut Output,
) -> Result<(), Failure> {
    let document = Document::read(&args.file, &args.variables)?;
    let window = format!("now-{}", args.window);
    let asked = EvaluateShadowRequest {
        sources: document.sources,
        destinations: document.destinations,
        filters: document.filters,
        connections: document.connections,
        prune_label: args.prune.clone().unwrap_or_default(),
        from: args.from.clone().unwrap_or(window),
        to: args.to.clone().unwrap_or_default(),
        limit: args.limit,
    };
    let answer = Box::pin(client.configuration().evaluate_shadow(asked)).await;
    let told = answer.map_err(Failure::from)?.into_inner();
    if output.is_json() {
        output.json(&to_json(&told))?;
    } else {
        tell(&told, output)?;
        warn_of_partial(told.partial, &told.unreachable, output);
    }
    match losses(&told) {
        0 => Ok(()),
        _ if !args.strict => Ok(()),
        losses => Err(Failure::new(
            "SHADOW_LOSES",
            format!(
                "{} requests or events would be refused, lost or failed",
                count(losses)
            ),
        )
        .hint("look at the requests that are named, or run without --strict")),
    }
}

fn tell(told: &EvaluateShadowResponse, output: &mut Output) -> Result<(), Failure> {
    if told.models.is_empty() {
        return output.line("no stored source would change");
    }
    for source in &told.models {
        source_line(source, output)?;
        difference("accepted", Tone::Good, source.accepted.as_ref(), output)?;
        difference("refused", Tone::Bad, source.refused.as_ref(), output)?;
        let mut table = Table::new(&["connection", "today", "proposed", ""]);
        for connection in &source.connections {
            table.row([
                connection.name.clone(),
                connection.sent_before.to_string(),
                connection.sent_after.to_string(),
                fate(connection).to_owned(),
            ]);
        }
        output.table(&table)?;
        for connection in &source.connections {
            let parts = [
                ("gained", Tone::Good, &connection.gained),
                ("lost", Tone::Bad, &connection.lost),
                ("failing", Tone::Bad, &connection.failing),
                ("moved", Tone::Waiting, &connection.moved),
                ("changed", Tone::Waiting, &connection.changed),
            ];
            for (word, tone, part) in parts {
                let what = format!("{} {word}", connection.name);
                difference(&what, tone, part.as_ref(), output)?;
            }
        }
    }
    Ok(())
}

fn source_line(source: &ShadowSource, output: &mut Output) -> Result<(), Failure> {
    let mut line = format!("{}: {}", source.name, times(source.requests, "request"));
    if source.truncated {
        line.push_str(", and there are more");
    }
    if source.unverifiable > 0 {
        let some = format!("; {} cannot be verified again", source.unverifiable);
        line.push_str(&some);
    }
    output.untrusted(&line)
}

fn times(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", count(number))
}

/// What of it changes, with examples.
fn difference(
    what: &str,
    tone: Tone,
    part: Option<&ShadowDifference>,
    output: &mut Output,
) -> Result<(), Failure> {
    let Some(part) = part.filter(|part| part.count > 0) else {
        return Ok(());
    };
    let mut line = format!("  {what}: {}", part.count);
    if !part.reason.is_empty() {
        line.push_str(&format!(" ({})", part.reason));
    }
    line.push_str(&format!("  {}", part.request_ids.join(" ")));
    let line = output.paint(tone, &line);
    output.untrusted(&line)
}

const fn fate(connection: &ShadowConnection) -> &'static str {
    match (connection.created, connection.deleted) {
        (true, _) => "new",
        (_, true) => "deleted",
        _ => "",
    }
}

fn losses(told: &EvaluateShadowResponse) -> u64 {
    let of = |part: &Option<ShadowDifference>| part.as_ref().map_or(0, |part| part.count);
    let connection = |one: &ShadowConnection| of(&one.lost) + of(&one.failing);
    let source = |one: &ShadowSource| {
        let connections: u64 = one.connections.iter().map(connection).sum();
        of(&one.refused) + connections
    };
    told.models.iter().map(source).sum()
}
