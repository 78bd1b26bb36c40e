//! `requests list|get|count|replay`.

use clap::Subcommand;
use hookplane_client::Client;
use hookplane_client::v1::{
    CountRequestsRequest, GetRequestRequest, ListRequestsRequest, ReplayRequestRequest, Request,
    RequestModifications, RequestStatus,
};

use super::names::Names;
use super::words::{RequestStatusArg, request_status};
use super::{RangeArgs, words};
use crate::failure::Failure;
use crate::json::to_json;
use crate::output::{Output, Table, bytes, count, day_time};
use crate::resources::{Page, PageArgs, Sources, each_page, resolve, warn_of_partial};

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum RequestsVerb {
    /// Show requests, newest first
    List {
        #[command(flatten)]
        filter: RequestFilter,
        #[command(flatten)]
        page: PageArgs,
        /// With payloads (in JSON)
        #[arg(long)]
        data: bool,
    },
    /// Show one, with its payload
    Get {
        /// `req_…`
        id: String,
        /// Write the raw body and nothing else
        #[arg(long)]
        body: bool,
    },
    /// Count requests
    Count {
        #[command(flatten)]
        filter: RequestFilter,
    },
    /// Send one through today's rules again, as a new request
    Replay {
        /// `req_…`; a rejected one is verified again, as of the time it came
        id: String,
        /// Another body, from this file
        #[arg(long, value_name = "FILE")]
        body: Option<std::path::PathBuf>,
        /// Another path
        #[arg(long)]
        path: Option<String>,
        /// Another query, without `?`
        #[arg(long)]
        query: Option<String>,
        /// Sets a header, `name: value`; an empty value takes it away. May be repeated
        #[arg(long = "header", value_name = "HEADER")]
        headers: Vec<String>,
    },
}

/// Which requests are meant.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct RequestFilter {
    #[command(flatten)]
    range: RangeArgs,
    #[arg(long, value_enum)]
    status: Option<RequestStatusArg>,
    /// Name or id of the source
    #[arg(long)]
    source: Option<String>,
    /// `true` or `false`
    #[arg(long)]
    verified: Option<bool>,
    /// The provider's id of the message
    #[arg(long, value_name = "ID")]
    message_id: Option<String>,
    /// The provider's type of the event
    #[arg(long, value_name = "TYPE")]
    event_type: Option<String>,
}

impl RequestFilter {
    async fn ask(&self, client: &Client) -> Result<ListRequestsRequest, Failure> {
        let (from, to) = self.range.bounds();
        let source_id = match &self.source {
            Some(text) => resolve::<Sources>(client, text).await?.id,
            None => String::new(),
        };
        Ok(ListRequestsRequest {
            from,
            to,
            status: self
                .status
                .map(RequestStatus::from)
                .unwrap_or_default()
                .into(),
            source_id,
            verified: self.verified,
            message_id: self.message_id.clone().unwrap_or_default(),
            event_type: self.event_type.clone().unwrap_or_default(),
            ..ListRequestsRequest::default()
        })
    }
}

pub(crate) async fn run(
    verb: RequestsVerb,
    client: &Client,
    output: &mut Output,
) -> Result<(), Failure> {
    match verb {
        RequestsVerb::List { filter, page, data } => {
            let mut ask = filter.ask(client).await?;
            if data {
                ask.include = "data".to_owned();
            }
            list(&ask, &page, client, output).await
        }
        RequestsVerb::Get { id, body } => get(id, body, client, output).await,
        RequestsVerb::Count { filter } => {
            let ask = filter.ask(client).await?;
            total(ask, client, output).await
        }
        RequestsVerb::Replay {
            id,
            body,
            path,
            query,
            headers,
        } => {
            let mut changes = RequestModifications {
                path,
                query,
                ..RequestModifications::default()
            };
            if let Some(file) = body {
                changes.body =
                    Some(std::fs::read(&file).map_err(|error| Failure::file(&file, &error))?);
            }
            for header in headers {
                let (name, value) = header.split_once(':').ok_or_else(|| {
                    Failure::usage(format!("`{header}` is no header"), "write `name: value`")
                })?;
                let (name, value) = (name.trim().to_owned(), value.trim().to_owned());
                changes.set_headers.insert(name, value);
            }
            let changed = changes != RequestModifications::default();
            let request = ReplayRequestRequest {
                id,
                modifications: changed.then_some(changes),
            };
            let made = client
                .requests()
                .replay_request(request)
                .await?
                .into_inner();
            if output.is_json() {
                return output.json(&to_json(&made));
            }
            output.line(&format!(
                "{} is replayed as {}: {} events, {} ignored",
                made.request_id, made.replay_request_id, made.events_count, made.ignored_count
            ))
        }
    }
}

async fn list(
    ask: &ListRequestsRequest,
    page: &PageArgs,
    client: &Client,
    output: &mut Output,
) -> Result<(), Failure> {
    let listed = each_page(page, async |limit, page_token| {
        let request = ListRequestsRequest {
            limit,
            page_token,
            ..ask.clone()
        };
        let answer = client.requests().list_requests(request).await?.into_inner();
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
        "source",
        "event type",
        "status",
        "events",
        "ignored",
    ]);
    for request in &listed.models {
        table.row([
            day_time(request.ingested_at.as_ref()),
            request.id.clone(),
            names.of(&request.source_id).to_owned(),
            request.event_type.clone(),
            request_status(request),
            request.events_count.to_string(),
            request.ignored_count.to_string(),
        ]);
    }
    output.table(&table)?;
    listed.mention_rest(output);
    Ok(())
}

async fn get(id: String, body: bool, client: &Client, output: &mut Output) -> Result<(), Failure> {
    let request = GetRequestRequest { id };
    let found = client.requests().get_request(request).await?.into_inner();
    let data = found.data.clone().unwrap_or_default();
    if body {
        return output.raw(&data.body);
    }
    if output.is_json() {
        return output.json(&to_json(&found));
    }
    let names = Names::fetch(client).await;
    output.table(&Table::of_values(values(&found, &names)))?;
    if found.data.is_none() {
        return Ok(());
    }
    output.line("")?;
    let query = if data.query.is_empty() {
        String::new()
    } else {
        format!("?{}", data.query)
    };
    output.untrusted(&format!("{} {}{query}", data.method, data.path))?;
    for header in &data.headers {
        let value = String::from_utf8_lossy(&header.value);
        output.untrusted(&format!("{}: {value}", header.name))?;
    }
    output.line("")?;
    if data.body_text.is_empty() && !data.body.is_empty() {
        output.line("(not text; --body writes the bytes)")
    } else {
        output.untrusted_text(&data.body_text)
    }
}

fn values(request: &Request, names: &Names) -> Vec<(&'static str, String)> {
    vec![
        ("id", request.id.clone()),
        (
            "source",
            format!("{} ({})", names.of(&request.source_id), request.source_id),
        ),
        ("status", words::request_status(request)),
        ("detail", request.rejection_detail.clone()),
        ("verified by", request.verified_by.clone()),
        ("message", request.message_id.clone()),
        ("event type", request.event_type.clone()),
        ("received", day_time(request.ingested_at.as_ref())),
        ("size", bytes(request.body_size)),
        ("from", request.client_ip.clone()),
        (
            "events",
            format!(
                "{} made, {} ignored",
                request.events_count, request.ignored_count
            ),
        ),
        ("repeats", request.repeat_count.to_string()),
        ("agent", request.agent_id.clone()),
        ("revision", request.config_revision.to_string()),
    ]
}

async fn total(
    ask: ListRequestsRequest,
    client: &Client,
    output: &mut Output,
) -> Result<(), Failure> {
    let request = CountRequestsRequest {
        from: ask.from,
        to: ask.to,
        status: ask.status,
        source_id: ask.source_id,
        verified: ask.verified,
        message_id: ask.message_id,
        event_type: ask.event_type,
    };
    let answer = client
        .requests()
        .count_requests(request)
        .await?
        .into_inner();
    if output.is_json() {
        return output.json(&to_json(&answer));
    }
    output.table(&Table::of_values([
        ("requests", count(answer.count)),
        ("accepted", count(answer.accepted)),
        ("rejected", count(answer.rejected)),
        ("repeats", count(answer.repeats)),
    ]))?;
    warn_of_partial(answer.partial, &answer.unreachable, output);
    Ok(())
}
