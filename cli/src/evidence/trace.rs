//! `trace`: one request with all that came of it.

use hookplane_client::Client;
use hookplane_client::v1::{GetEventRequest, GetRequestTraceRequest, RequestTrace};

use super::names::Names;
use super::tree::draw;
use crate::failure::Failure;
use crate::json::to_json;
use crate::output::Output;

/// Flags of `trace`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct TraceArgs {
    /// `req_…`, or an `evt_…` of the request
    id: String,
    /// Leave out the timeline
    #[arg(long)]
    no_timeline: bool,
}

/// Runs the command.
pub(crate) async fn trace(
    args: TraceArgs,
    client: &Client,
    output: &mut Output,
) -> Result<(), Failure> {
    let request_id = if args.id.starts_with("evt_") {
        let request = GetEventRequest { id: args.id };
        client
            .events()
            .get_event(request)
            .await?
            .into_inner()
            .request_id
    } else {
        args.id
    };
    let trace = fetch(client, request_id).await?;
    if output.is_json() {
        return output.json(&to_json(&trace));
    }
    if trace.request.is_none() {
        return Err(out_of_reach(&trace));
    }
    let names = Names::fetch(client).await;
    for line in draw(&trace, &names, !args.no_timeline, output) {
        output.untrusted(&line)?;
    }
    Ok(())
}

/// The one agent that holds the request could not be asked.
fn out_of_reach(trace: &RequestTrace) -> Failure {
    let away = trace
        .unreachable
        .iter()
        .map(|agent| format!("{} ({})", agent.name, agent.reason));
    let away: Vec<String> = away.collect();
    let message = format!(
        "the request is held by an agent out of reach: {}",
        away.join(", ")
    );
    Failure::new("AGENT_UNREACHABLE", message)
        .hint("it keeps its evidence; ask again when `hookplane status` shows it connected")
}

/// The trace of a request.
pub(crate) async fn fetch(client: &Client, id: String) -> Result<RequestTrace, Failure> {
    let request = GetRequestTraceRequest { id };
    Ok(client
        .requests()
        .get_request_trace(request)
        .await?
        .into_inner())
}
