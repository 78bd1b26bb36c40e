//! `events list|get|count|retry|cancel|dead-letters`.

use clap::Subcommand;
use hookplane_client::Client;
use hookplane_client::v1::{
    CancelEventRequest, CountEventsRequest, Event, EventStatus, FailureOrigin, GetEventRequest,
    HandlerOutcome, ListDeadLettersRequest, ListEventsRequest, ReleaseEventRequest,
    RetryEventRequest, RetryKind,
};

use super::RangeArgs;
use super::names::Names;
use super::words;
use super::words::{EventStatusArg, HandlerOutcomeArg, answer, event_status, handler, ignored};
use crate::failure::Failure;
use crate::json::to_json;
use crate::output::{Output, Table, count, day_time};
use crate::resources::{
    Connections, Destinations, Page, PageArgs, Sources, each_page, resolve, warn_of_partial,
};

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum EventsVerb {
    /// Show events, newest first; ignored ones with --status cancelled
    List {
        #[command(flatten)]
        filter: EventFilter,
        /// Of this request
        #[arg(long, value_name = "ID")]
        request: Option<String>,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Show one
    Get {
        /// `evt_…`
        id: String,
    },
    /// Count events by status
    Count {
        #[command(flatten)]
        filter: EventFilter,
    },
    /// Send the same bytes again, as a new event
    Retry {
        /// `evt_…`, of an event that has ended
        id: String,
    },
    /// Stop a pending event
    Cancel {
        /// `evt_…`
        id: String,
    },
    /// Let a held event through for one try, although its connection is paused
    Release {
        /// `evt_…`
        id: String,
    },
    /// Show what failed and was not sent again, by cause, with what to do next
    DeadLetters {
        #[command(flatten)]
        range: RangeArgs,
        /// Name or id of the source
        #[arg(long)]
        source: Option<String>,
        /// Name or id of the connection
        #[arg(long)]
        connection: Option<String>,
        /// Name or id of the destination
        #[arg(long)]
        destination: Option<String>,
    },
}

/// Which events are meant.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct EventFilter {
    #[command(flatten)]
    range: RangeArgs,
    #[arg(long, value_enum)]
    status: Option<EventStatusArg>,
    /// What the receiver's handler said of the latest try
    #[arg(long, value_enum, value_name = "OUTCOME")]
    handler: Option<HandlerOutcomeArg>,
    /// Name or id of the source
    #[arg(long)]
    source: Option<String>,
    /// Name or id of the connection
    #[arg(long)]
    connection: Option<String>,
    /// Name or id of the destination
    #[arg(long)]
    destination: Option<String>,
}

impl EventFilter {
    async fn ask(&self, client: &Client) -> Result<ListEventsRequest, Failure> {
        let (from, to) = self.range.bounds();
        let mut request = ListEventsRequest {
            from,
            to,
            status: self
                .status
                .map(EventStatus::from)
                .unwrap_or_default()
                .into(),
            handler_outcome: self
                .handler
                .map(HandlerOutcome::from)
                .unwrap_or_default()
                .into(),
            ..ListEventsRequest::default()
        };
        if let Some(text) = &self.source {
            request.source_id = resolve::<Sources>(client, text).await?.id;
        }
        if let Some(text) = &self.connection {
            request.connection_id = resolve::<Connections>(client, text).await?.id;
        }
        if let Some(text) = &self.destination {
            request.destination_id = resolve::<Destinations>(client, text).await?.id;
        }
        Ok(request)
    }
}

pub(crate) async fn run(
    verb: EventsVerb,
    client: &Client,
    output: &mut Output,
) -> Result<(), Failure> {
    match verb {
        EventsVerb::List {
            filter,
            request,
            page,
        } => {
            let mut ask = filter.ask(client).await?;
            ask.request_id = request.unwrap_or_default();
            list(&ask, &page, client, output).await
        }
        EventsVerb::Get { id } => {
            let request = GetEventRequest { id };
            let event = client.events().get_event(request).await?.into_inner();
            if output.is_json() {
                return output.json(&to_json(&event));
            }
            let names = Names::fetch(client).await;
            output.table(&Table::of_values(values(&event, &names)))
        }
        EventsVerb::Count { filter } => {
            let ask = filter.ask(client).await?;
            total(ask, client, output).await
        }
        EventsVerb::Retry { id } => {
            let request = RetryEventRequest { id };
            let made = client.events().retry_event(request).await?.into_inner();
            if output.is_json() {
                return output.json(&to_json(&made));
            }
            output.line(&format!(
                "{} is sent again as {}",
                made.event_id, made.replay_event_id
            ))
        }
        EventsVerb::Cancel { id } => {
            let request = CancelEventRequest { id };
            let stopped = client.events().cancel_event(request).await?.into_inner();
            if output.is_json() {
                return output.json(&to_json(&stopped));
            }
            output.line(&format!("{} is stopped", stopped.id))
        }
        EventsVerb::Release { id } => {
            let request = ReleaseEventRequest { id };
            let released = client.events().release_event(request).await?.into_inner();
            if output.is_json() {
                return output.json(&to_json(&released));
            }
            output.line(&format!("{} goes out for one try", released.id))
        }
        EventsVerb::DeadLetters {
            range,
            source,
            connection,
            destination,
        } => {
            let filter = EventFilter {
                range,
                source,
                connection,
                destination,
                ..EventFilter::default()
            };
            let ask = filter.ask(client).await?;
            dead_letters(ask, client, output).await
        }
    }
}

async fn dead_letters(
    ask: ListEventsRequest,
    client: &Client,
    output: &mut Output,
) -> Result<(), Failure> {
    let request = ListDeadLettersRequest {
        from: ask.from,
        to: ask.to,
        source_id: ask.source_id,
        connection_id: ask.connection_id,
        destination_id: ask.destination_id,
    };
    let answer = client.events().list_dead_letters(request).await?;
    let answer = answer.into_inner();
    warn_of_partial(answer.partial, &answer.unreachable, output);
    if output.is_json() {
        return output.json(&to_json(&answer));
    }
    let names = Names::fetch(client).await;
    let mut table = Table::new(&[
        "count",
        "connection",
        "whose",
        "answer",
        "newest",
        "newest event",
        "next step",
    ]);
    for group in &answer.models {
        table.row([
            group.count.to_string(),
            names.of(&group.connection_id).to_owned(),
            match group.origin() {
                FailureOrigin::Receiver => "receiver",
                FailureOrigin::Network => "network",
                FailureOrigin::Pipeline => "pipeline",
                FailureOrigin::Unspecified => "",
            }
            .to_owned(),
            words::answer(group.response_status, &group.error_code),
            day_time(group.newest_at.as_ref()),
            group.newest_event_id.clone(),
            group.next_step.clone(),
        ]);
    }
    output.table(&table)
}

async fn list(
    ask: &ListEventsRequest,
    page: &PageArgs,
    client: &Client,
    output: &mut Output,
) -> Result<(), Failure> {
    let listed = each_page(page, async |limit, page_token| {
        let request = ListEventsRequest {
            limit,
            page_token,
            ..ask.clone()
        };
        let answer = client.events().list_events(request).await?.into_inner();
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
        "event type",
        "destination",
        "status",
        "tries",
        "answer",
        "reason",
    ]);
    for event in &listed.models {
        table.row([
            day_time(event.created_at.as_ref()),
            event.id.clone(),
            event.event_type.clone(),
            names.of(&event.destination_id).to_owned(),
            event_status(event.status()).to_owned(),
            event.attempts.to_string(),
            answer(event.response_status, &event.error_code),
            reason(event),
        ]);
    }
    output.table(&table)?;
    listed.mention_rest(output);
    Ok(())
}

/// Why it was not taken, or why its handler did not do the work.
fn reason(event: &Event) -> String {
    let ignored = ignored(event);
    if ignored.is_empty() {
        handler(event)
    } else {
        ignored
    }
}

fn values(event: &Event, names: &Names) -> Vec<(&'static str, String)> {
    let lineage = match event.retry_kind() {
        RetryKind::Unspecified => String::new(),
        kind => format!(
            "{} of {}",
            kind.as_str_name()
                .trim_start_matches("RETRY_KIND_")
                .to_lowercase(),
            event.retry_parent_event_id
        ),
    };
    vec![
        ("id", event.id.clone()),
        ("request", event.request_id.clone()),
        ("event type", event.event_type.clone()),
        (
            "source",
            format!("{} ({})", names.of(&event.source_id), event.source_id),
        ),
        ("connection", event.connection_id.clone()),
        (
            "destination",
            format!(
                "{} ({})",
                names.of(&event.destination_id),
                event.destination_id
            ),
        ),
        ("status", event_status(event.status()).to_owned()),
        ("ignored", ignored(event)),
        ("attempts", event.attempts.to_string()),
        (
            "last answer",
            answer(event.response_status, &event.error_code),
        ),
        ("failure", event.failure_message.clone()),
        ("handler", handler(event)),
        ("made", day_time(event.created_at.as_ref())),
        ("last attempt", day_time(event.last_attempt_at.as_ref())),
        ("next attempt", day_time(event.next_attempt_at.as_ref())),
        ("delivered", day_time(event.successful_at.as_ref())),
        ("retry", lineage),
    ]
}

async fn total(
    ask: ListEventsRequest,
    client: &Client,
    output: &mut Output,
) -> Result<(), Failure> {
    let request = CountEventsRequest {
        from: ask.from,
        to: ask.to,
        status: ask.status,
        source_id: ask.source_id,
        connection_id: ask.connection_id,
        destination_id: ask.destination_id,
        handler_outcome: ask.handler_outcome,
    };
    let answer = client.events().count_events(request).await?.into_inner();
    if output.is_json() {
        return output.json(&to_json(&answer));
    }
    output.table(&Table::of_values([
        ("events", count(answer.count)),
        ("scheduled", count(answer.scheduled)),
        ("queued", count(answer.queued)),
        ("hold", count(answer.hold)),
        ("successful", count(answer.successful)),
        ("failed", count(answer.failed)),
        ("cancelled", count(answer.cancelled)),
    ]))?;
    warn_of_partial(answer.partial, &answer.unreachable, output);
    Ok(())
}
