//! `replay` and `bulk`: many events or requests sent again, and how that goes.
//!
//! Owns what is asked before anything is sent, and the progress. Refuses to know how it is carried
//! out: the control plane does, also when this command ends.

mod watch;

use std::io::{self, IsTerminal as _};

use clap::{Subcommand, ValueEnum};
use hookplane_client::Client;
use hookplane_client::v1::{
    self, BulkOperation, BulkPreview, CancelBulkOperationRequest, CreateEventBulkOperationRequest,
    CreateRequestBulkOperationRequest, EventSelection, EventStatus, GetBulkOperationRequest,
    HandlerOutcome, ListEventBulkOperationsRequest, ListRequestBulkOperationsRequest,
    PauseBulkOperationRequest, PreviewEventBulkOperationRequest,
    PreviewRequestBulkOperationRequest, RequestSelection, RequestStatus,
    ResumeBulkOperationRequest,
};

use crate::evidence::{HandlerOutcomeArg, Names, RangeArgs};
use crate::failure::Failure;
use crate::json::to_json;
use crate::output::{Output, Table, count, day_time};
use watch::{show, status, watch};

use crate::resources::{
    Connections, Destinations, Page, PageArgs, Sources, each_page, resolve, warn_of_partial,
};

/// Flags of `replay`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ReplayArgs {
    #[command(flatten)]
    range: RangeArgs,
    /// Replay requests through today's rules, instead of retrying events on their branch
    #[arg(long)]
    requests: bool,
    /// Of events `failed` (when not given) or `successful`, of requests `accepted` or `rejected`
    #[arg(long, value_enum, ignore_case = true)]
    status: Option<StatusArg>,
    /// Name or id of the source
    #[arg(long)]
    source: Option<String>,
    /// Name or id of the connection; of events
    #[arg(long, conflicts_with = "requests")]
    connection: Option<String>,
    /// Name or id of the destination; of events
    #[arg(long, conflicts_with = "requests")]
    destination: Option<String>,
    /// What the receiver's handler said of the latest try; of events
    #[arg(long, value_enum, value_name = "OUTCOME", conflicts_with = "requests")]
    handler: Option<HandlerOutcomeArg>,
    /// The provider's type, such as `user.created`; of requests
    #[arg(long, value_name = "TYPE", requires = "requests")]
    event_type: Option<String>,
    /// Also what somebody has sent again already
    #[arg(long)]
    include_retried: bool,
    /// Most that are sent per second, over all agents
    #[arg(long, value_name = "PER_SECOND", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// Send one first; the rest follows only when it has succeeded
    #[arg(long)]
    canary: bool,
    /// Only tell what would be sent
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Do not wait for the end; `bulk watch` does later
    #[arg(long)]
    no_wait: bool,
    /// Of your choice: given again, it is the same operation
    #[arg(long, value_name = "ID", default_value = "")]
    request_id: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum StatusArg {
    Failed,
    Successful,
    Accepted,
    Rejected,
}

/// What can be done with operations.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum BulkVerb {
    /// Show operations, newest first
    List {
        /// Those that replay requests, instead of those that retry events
        #[arg(long)]
        requests: bool,
        #[arg(long, value_enum, default_value_t)]
        bucket: BucketArg,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Show one
    Get {
        /// `bch_…`
        id: String,
    },
    /// Follow one to its end
    Watch {
        /// `bch_…`
        id: String,
    },
    /// Send nothing more until it is resumed
    Pause {
        /// `bch_…`
        id: String,
    },
    /// Go on; after a canary that did not succeed: send the rest all the same
    Resume {
        /// `bch_…`
        id: String,
    },
    /// Send nothing more, for good
    Cancel {
        /// `bch_…`
        id: String,
    },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum BucketArg {
    #[default]
    All,
    Ongoing,
    History,
}

/// What is sent again.
enum Selection {
    Events(EventSelection),
    Requests(RequestSelection),
}

/// Runs `replay`.
pub(crate) async fn replay(
    args: ReplayArgs,
    client: &Client,
    output: &mut Output,
) -> Result<(), Failure> {
    let selection = args.selection(client).await?;
    let preview = preview(&selection, client).await?;
    warn_of_partial(preview.partial, &preview.unreachable, output);
    if args.dry_run {
        if output.is_json() {
            return output.json(&to_json(&preview));
        }
        let table = previewed(&preview, client).await;
        output.table(&table)?;
        return output.line(&format!("{} to send again", count(preview.count)));
    }
    if preview.count == 0 {
        return Err(Failure::new("NOTHING_TO_REPLAY", "nothing is selected")
            .hint("widen the window or the filter; --include-retried takes what was sent again already"));
    }
    confirm(&args, &preview, client, output).await?;
    let made = create(&args, selection, client).await?;
    if args.no_wait {
        if output.is_json() {
            return output.json(&to_json(&made));
        }
        return output.line(&format!(
            "{} begun; `hookplane bulk watch {}`",
            made.id, made.id
        ));
    }
    output.note(&format!(
        "{} begun; it goes on when this command ends",
        made.id
    ));
    watch(made.id, client, output).await
}

/// Runs one verb of `bulk`.
pub(crate) async fn bulk(
    verb: BulkVerb,
    client: &Client,
    output: &mut Output,
) -> Result<(), Failure> {
    let service = || client.bulk_operations();
    let changed = match verb {
        BulkVerb::List {
            requests,
            bucket,
            page,
        } => return list(requests, bucket, &page, client, output).await,
        BulkVerb::Get { id } => {
            let found = service()
                .get_bulk_operation(GetBulkOperationRequest { id })
                .await?
                .into_inner();
            warn_of_partial(found.partial, &found.unreachable, output);
            found
        }
        BulkVerb::Watch { id } => return watch(id, client, output).await,
        BulkVerb::Pause { id } => {
            let request = PauseBulkOperationRequest { id };
            service().pause_bulk_operation(request).await?.into_inner()
        }
        BulkVerb::Resume { id } => {
            let request = ResumeBulkOperationRequest { id };
            service().resume_bulk_operation(request).await?.into_inner()
        }
        BulkVerb::Cancel { id } => {
            let request = CancelBulkOperationRequest { id };
            service().cancel_bulk_operation(request).await?.into_inner()
        }
    };
    show(&changed, output)
}

impl ReplayArgs {
    async fn selection(&self, client: &Client) -> Result<Selection, Failure> {
        let (from, to) = self.range.bounds();
        let source_id = match &self.source {
            Some(text) => resolve::<Sources>(client, text).await?.id,
            None => String::new(),
        };
        if self.requests {
            let status = match self.status {
                None => RequestStatus::Unspecified,
                Some(StatusArg::Accepted) => RequestStatus::Accepted,
                Some(StatusArg::Rejected) => RequestStatus::Rejected,
                Some(StatusArg::Failed | StatusArg::Successful) => {
                    let hint = "give --status accepted or rejected, or leave --requests out";
                    return Err(Failure::usage("this is a status of events", hint));
                }
            };
            return Ok(Selection::Requests(RequestSelection {
                from,
                to,
                status: status.into(),
                source_id,
                verified: None,
                event_type: self.event_type.clone().unwrap_or_default(),
                include_replayed: self.include_retried,
            }));
        }
        let status = match self.status {
            None | Some(StatusArg::Failed) => EventStatus::Failed,
            Some(StatusArg::Successful) => EventStatus::Successful,
            Some(StatusArg::Accepted | StatusArg::Rejected) => {
                let hint = "give --requests too, or --status failed or successful";
                return Err(Failure::usage("this is a status of requests", hint));
            }
        };
        let handler = self.handler.map(HandlerOutcome::from).unwrap_or_default();
        let mut selection = EventSelection {
            from,
            to,
            status: status.into(),
            source_id,
            handler_outcome: handler.into(),
            include_retried: self.include_retried,
            ..EventSelection::default()
        };
        if let Some(text) = &self.connection {
            selection.connection_id = resolve::<Connections>(client, text).await?.id;
        }
        if let Some(text) = &self.destination {
            selection.destination_id = resolve::<Destinations>(client, text).await?.id;
        }
        Ok(Selection::Events(selection))
    }
}

async fn preview(selection: &Selection, client: &Client) -> Result<BulkPreview, Failure> {
    let mut service = client.bulk_operations();
    let answer = match selection {
        Selection::Events(events) => {
            let events = Some(events.clone());
            let request = PreviewEventBulkOperationRequest { events };
            service.preview_event_bulk_operation(request).await?
        }
        Selection::Requests(requests) => {
            let requests = Some(requests.clone());
            let request = PreviewRequestBulkOperationRequest { requests };
            service.preview_request_bulk_operation(request).await?
        }
    };
    Ok(answer.into_inner())
}

async fn create(
    args: &ReplayArgs,
    selection: Selection,
    client: &Client,
) -> Result<BulkOperation, Failure> {
    let mut service = client.bulk_operations();
    let (rate, canary, request_id) = (args.rate, args.canary, args.request_id.clone());
    let answer = match selection {
        Selection::Events(events) => {
            let request = CreateEventBulkOperationRequest {
                events: Some(events),
                rate,
                canary,
                request_id,
            };
            service.create_event_bulk_operation(request).await?
        }
        Selection::Requests(requests) => {
            let request = CreateRequestBulkOperationRequest {
                requests: Some(requests),
                rate,
                canary,
                request_id,
            };
            service.create_request_bulk_operation(request).await?
        }
    };
    Ok(answer.into_inner())
}

/// Shows what would be sent, and asks whether it shall be where somebody can be asked.
async fn confirm(
    args: &ReplayArgs,
    preview: &BulkPreview,
    client: &Client,
    output: &mut Output,
) -> Result<(), Failure> {
    let is_asked = !args.yes && output.is_attended() && io::stdin().is_terminal();
    if output.is_attended() || !output.is_json() {
        let table = previewed(preview, client).await;
        output.note(&table.render());
    }
    if !is_asked {
        return Ok(());
    }
    output.note(&format!(
        "{} to send again, at most {} per second: go on? Answer `yes`, or anything else to stop.",
        count(preview.count),
        args.rate
    ));
    let mut answer = String::new();
    let read = io::stdin().read_line(&mut answer);
    read.map_err(|error| Failure::file(std::path::Path::new("-"), &error))?;
    if answer.trim().eq_ignore_ascii_case("yes") {
        return Ok(());
    }
    Err(Failure::new("NOT_CONFIRMED", "nothing was sent")
        .hint("answer `yes`, or give --yes to go on without being asked"))
}

async fn previewed(preview: &BulkPreview, client: &Client) -> Table {
    let names = Names::fetch(client).await;
    let mut table = Table::new(&["of", "status", "count", "oldest", "newest"]);
    for group in &preview.models {
        let of = if group.connection_id.is_empty() {
            &group.source_id
        } else {
            &group.connection_id
        };
        table.row([
            names.of(of).to_owned(),
            group.status.clone(),
            count(group.count),
            day_time(group.oldest_at.as_ref()),
            day_time(group.newest_at.as_ref()),
        ]);
    }
    table
}

async fn list(
    requests: bool,
    bucket: BucketArg,
    page: &PageArgs,
    client: &Client,
    output: &mut Output,
) -> Result<(), Failure> {
    let bucket = match bucket {
        BucketArg::All => "all",
        BucketArg::Ongoing => "ongoing",
        BucketArg::History => "history",
    };
    let listed = each_page(page, async |limit, page_token| {
        let mut service = client.bulk_operations();
        let bucket = bucket.to_owned();
        let answer = if requests {
            let request = ListRequestBulkOperationsRequest {
                bucket,
                limit,
                page_token,
            };
            service.list_request_bulk_operations(request).await?
        } else {
            let request = ListEventBulkOperationsRequest {
                bucket,
                limit,
                page_token,
            };
            service.list_event_bulk_operations(request).await?
        };
        let answer: v1::ListBulkOperationsResponse = answer.into_inner();
        Ok(Page::whole(answer.pagination, answer.models))
    })
    .await?;
    if output.is_json() {
        return output.json(&listed.envelope(to_json));
    }
    let mut table = Table::new(&[
        "id", "status", "sent", "of", "failed", "begun", "by", "reason",
    ]);
    for one in &listed.models {
        table.row([
            one.id.clone(),
            status(one).to_owned(),
            count(one.made_count),
            count(one.total_count),
            count(one.failed_count),
            day_time(one.created_at.as_ref()),
            one.requested_by.clone(),
            one.status_reason.clone(),
        ]);
    }
    output.table(&table)?;
    listed.mention_rest(output);
    Ok(())
}
