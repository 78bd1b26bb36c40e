//! `attempts list|get`.

use clap::Subcommand;
use hookplane_client::Client;
use hookplane_client::v1::{
    Attempt, AttemptStatus, GetAttemptRequest, Header, ListAttemptsRequest,
};

use super::RangeArgs;
use super::names::Names;
use super::words::{answer, attempt_status};
use crate::failure::Failure;
use crate::json::to_json;
use crate::output::{Output, Table, day_time, millis};
use crate::resources::{Destinations, Page, PageArgs, each_page, resolve};

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum AttemptsVerb {
    /// Show attempts, newest first
    List {
        #[command(flatten)]
        filter: AttemptFilter,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Show one, with both sides of the exchange
    Get {
        /// `att_…`
        id: String,
    },
}

/// Which attempts are meant.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct AttemptFilter {
    #[command(flatten)]
    range: RangeArgs,
    #[arg(long, value_enum)]
    status: Option<AttemptStatusArg>,
    /// Of this event
    #[arg(long, value_name = "ID")]
    event: Option<String>,
    /// Name or id of the destination
    #[arg(long)]
    destination: Option<String>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum AttemptStatusArg {
    Successful,
    Failed,
}

pub(crate) async fn run(
    verb: AttemptsVerb,
    client: &Client,
    output: &mut Output,
) -> Result<(), Failure> {
    match verb {
        AttemptsVerb::List { filter, page } => list(&filter, &page, client, output).await,
        AttemptsVerb::Get { id } => get(id, client, output).await,
    }
}

async fn list(
    filter: &AttemptFilter,
    page: &PageArgs,
    client: &Client,
    output: &mut Output,
) -> Result<(), Failure> {
    let (from, to) = filter.range.bounds();
    let status = match filter.status {
        None => AttemptStatus::Unspecified,
        Some(AttemptStatusArg::Successful) => AttemptStatus::Successful,
        Some(AttemptStatusArg::Failed) => AttemptStatus::Failed,
    };
    let destination_id = match &filter.destination {
        Some(text) => resolve::<Destinations>(client, text).await?.id,
        None => String::new(),
    };
    let ask = ListAttemptsRequest {
        from,
        to,
        status: status.into(),
        event_id: filter.event.clone().unwrap_or_default(),
        destination_id,
        ..ListAttemptsRequest::default()
    };
    let listed = each_page(page, async |limit, page_token| {
        let request = ListAttemptsRequest {
            limit,
            page_token,
            ..ask.clone()
        };
        let answer = client.attempts().list_attempts(request).await?.into_inner();
        Ok(Page {
            pagination: answer.pagination.unwrap_or_default(),
            models: answer.models,
            partial: answer.partial,
            unreachable: answer.unreachable,
        })
    })
    .await?;
    if output.is_json() {
        return output.json(&listed.envelope(to_json));
    }
    let names = Names::fetch(client).await;
    let mut table = Table::new(&[
        "time",
        "id",
        "event",
        "destination",
        "try",
        "status",
        "answer",
        "latency",
        "decision",
    ]);
    for attempt in &listed.models {
        table.row([
            day_time(attempt.started_at.as_ref()),
            attempt.id.clone(),
            attempt.event_id.clone(),
            names.of(&attempt.destination_id).to_owned(),
            attempt.attempt_number.to_string(),
            attempt_status(attempt.status()).to_owned(),
            answer(attempt.response_status, &attempt.error_code),
            millis(attempt.delivery_latency),
            attempt.decision.clone(),
        ]);
    }
    output.table(&table)?;
    listed.mention_rest(output);
    Ok(())
}

async fn get(id: String, client: &Client, output: &mut Output) -> Result<(), Failure> {
    let request = GetAttemptRequest { id };
    let attempt = client.attempts().get_attempt(request).await?.into_inner();
    if output.is_json() {
        return output.json(&to_json(&attempt));
    }
    let names = Names::fetch(client).await;
    output.table(&Table::of_values(values(&attempt, &names)))?;
    output.line("")?;
    output.untrusted(&format!(
        "> {} {}",
        attempt.http_method, attempt.requested_url
    ))?;
    headers('>', &attempt.request_headers, output)?;
    if let Some(sent) = &attempt.sent_body {
        output.line("")?;
        output.untrusted_text(&sent.body_text)?;
        if sent.truncated {
            output.note(&format!("of {} bytes that were sent", sent.size));
        }
    }
    if attempt.response_status != 0 {
        output.line("")?;
        output.line(&format!("< {}", attempt.response_status))?;
        headers('<', &attempt.response_headers, output)?;
        output.line("")?;
        output.untrusted_text(&attempt.body)?;
    }
    Ok(())
}

fn headers(side: char, headers: &[Header], output: &mut Output) -> Result<(), Failure> {
    for header in headers {
        let value = String::from_utf8_lossy(&header.value);
        output.untrusted(&format!("{side} {}: {value}", header.name))?;
    }
    Ok(())
}

fn values(attempt: &Attempt, names: &Names) -> Vec<(&'static str, String)> {
    vec![
        ("id", attempt.id.clone()),
        ("event", attempt.event_id.clone()),
        ("request", attempt.request_id.clone()),
        (
            "destination",
            format!(
                "{} ({})",
                names.of(&attempt.destination_id),
                attempt.destination_id
            ),
        ),
        (
            "attempt",
            format!("{} ({})", attempt.attempt_number, attempt.trigger),
        ),
        ("status", attempt_status(attempt.status()).to_owned()),
        (
            "answer",
            answer(attempt.response_status, &attempt.error_code),
        ),
        ("error", attempt.error_message.clone()),
        ("started", day_time(attempt.started_at.as_ref())),
        ("answered", day_time(attempt.responded_at.as_ref())),
        ("latency", millis(attempt.delivery_latency)),
        ("decision", attempt.decision.clone()),
        ("next attempt", day_time(attempt.next_attempt_at.as_ref())),
    ]
}
