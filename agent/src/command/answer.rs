//! One command to its answer. Lists stop early rather than outgrow a message.

use std::sync::Arc;

use hookplane_proto::agent::v1::command_stream_request::Result as Answer;
use hookplane_proto::agent::v1::command_stream_response::Command;
use hookplane_proto::v1::{
    AppliedRange, CountEventsRequest, CountEventsResponse, CountRequestsRequest,
    CountRequestsResponse, ListAttemptsRequest, ListAttemptsResponse, ListEventsRequest,
    ListEventsResponse, ListRequestsRequest, ListRequestsResponse, Pagination, RetryEventResponse,
};
use prost::Message;

use super::fault::Fault;
use super::held::Held;
use super::render::Share;
use super::search::{self, Needle};
use super::{Desk, bulk, diagnose, query, render, replay, shadow, trace};
use crate::clock::timestamp;
use crate::ids::Kind;

/// Rows with payloads that are read at once: a body may have 16 MiB.
const DATA_PAGE: u32 = 16;
/// A gRPC message may have 4 MiB; the rest is room for the frame around the rows.
const MAX_ROWS: usize = 3 * 1_024 * 1_024;

pub(super) async fn answer(
    desk: &Arc<Desk>,
    team: &str,
    command: Command,
) -> Result<Answer, Fault> {
    match command {
        Command::ListRequests(asked) => list_requests(desk, team, asked).await,
        Command::CountRequests(asked) => count_requests(desk, team, asked).await,
        Command::GetRequest(asked) => {
            let found = desk.store.request(team, &asked.id).await?;
            let (record, counts) = found.ok_or_else(|| Fault::not_found("request", &asked.id))?;
            Ok(Answer::GetRequest(render::request(
                &record,
                counts,
                &desk.agent_id,
                true,
            )))
        }
        Command::GetRequestTrace(asked) => {
            let found = desk.store.history(team, &asked.id).await?;
            let mut history = found.ok_or_else(|| Fault::not_found("request", &asked.id))?;
            let held = Held::of(&desk.config, team);
            history.events.iter_mut().for_each(|event| held.mark(event));
            let mut trace = trace::trace(&history, &desk.agent_id);
            trace.replay_request_ids = desk.store.replays_of(&asked.id).await?;
            Ok(Answer::GetRequestTrace(trace))
        }
        Command::ListEvents(asked) => list_events(desk, team, asked).await,
        Command::CountEvents(asked) => count_events(desk, team, asked).await,
        Command::GetEvent(asked) => {
            let found = desk.store.event(team, &asked.id).await?;
            let record = found.ok_or_else(|| Fault::not_found("event", &asked.id))?;
            let record = Held::of(&desk.config, team).marked(record);
            Ok(Answer::GetEvent(render::event(&record)))
        }
        Command::RetryEvent(asked) => retry(desk, team, asked.id).await,
        Command::CancelEvent(asked) => {
            let now = desk.clock.now_millis();
            let detail = "stopped by a person";
            let stopped = desk
                .store
                .cancel_event(team, &asked.id, detail, now)
                .await?;
            Ok(Answer::CancelEvent(render::event(&stopped)))
        }
        Command::ReleaseEvent(asked) => {
            let found = desk.store.event(team, &asked.id).await?;
            let event = found.ok_or_else(|| Fault::not_found("event", &asked.id))?;
            if !Held::of(&desk.config, team).holds(&event) {
                let hint = "only what is pending on a paused connection is held";
                return Err(Fault::precondition("the event is not held", hint));
            }
            if !desk.gates.release(&event) {
                return Err(Fault::unavailable(
                    "too many held events wait for their try",
                ));
            }
            Ok(Answer::ReleaseEvent(render::event(&event)))
        }
        Command::ReplayRequest(asked) => replay::replay(desk, team, asked, None).await,
        Command::PreviewBulk(asked) => bulk::preview(desk, team, asked).await,
        Command::BulkStep(asked) => bulk::step(desk, team, asked).await,
        Command::DiagnoseRequest(asked) => diagnose::request(desk, team, asked.id).await,
        Command::EvaluateShadow(asked) => shadow::evaluate(desk, team, asked).await,
        Command::ListDeadLetters(asked) => {
            let asked_for = query::dead_letters(team, &asked, desk.clock.now_millis())?;
            let all = desk.store.count_events(asked_for.clone()).await?.failed;
            let groups = desk.store.group_events(asked_for).await?;
            Ok(Answer::ListDeadLetters(render::dead_letters(all, &groups)))
        }
        Command::ListAttempts(asked) => list_attempts(desk, team, asked).await,
        Command::GetAttempt(asked) => {
            let found = desk.store.attempt(team, &asked.id).await?;
            let record = found.ok_or_else(|| Fault::not_found("attempt", &asked.id))?;
            Ok(Answer::GetAttempt(render::attempt(&record, Share::Whole)))
        }
        Command::TailRequests(_) | Command::Cancel(_) => Err(Fault::unknown_command()),
    }
}

async fn list_requests(
    desk: &Desk,
    team: &str,
    asked: ListRequestsRequest,
) -> Result<Answer, Fault> {
    let now = desk.clock.now_millis();
    let mut asked_for = query::list_requests(team, &asked, now)?;
    let with_data = query::include_data(&asked.include)?;
    if with_data {
        asked_for.limit = asked_for.limit.min(DATA_PAGE);
    }
    let (limit, range) = (asked_for.limit, range(asked_for.from, asked_for.to, now));
    let (found, stopped_at) = match Needle::parse(&asked.q)? {
        Some(needle) => {
            let found = search::requests(desk, asked_for, needle, with_data).await?;
            (found.rows, found.stopped_at)
        }
        None => (desk.store.requests(asked_for, with_data).await?, None),
    };
    let rows = found
        .iter()
        .map(|(record, counts)| render::request(record, *counts, &desk.agent_id, with_data));
    let (models, mut pagination) = page(rows, limit, |row| &row.id);
    if let Some(stopped_at) = stopped_at
        && pagination.next.is_empty()
    {
        pagination.next = stopped_at;
    }
    Ok(Answer::ListRequests(ListRequestsResponse {
        count: count(&models),
        pagination: Some(pagination),
        models,
        applied_range: Some(range),
        ..ListRequestsResponse::default()
    }))
}

async fn count_requests(
    desk: &Desk,
    team: &str,
    asked: CountRequestsRequest,
) -> Result<Answer, Fault> {
    let asked_for = query::count_requests(team, &asked, desk.clock.now_millis())?;
    let totals = desk.store.count_requests(asked_for).await?;
    Ok(Answer::CountRequests(CountRequestsResponse {
        count: totals.accepted + totals.rejected,
        accepted: totals.accepted,
        rejected: totals.rejected,
        repeats: totals.repeats,
        ..CountRequestsResponse::default()
    }))
}

async fn list_events(desk: &Desk, team: &str, asked: ListEventsRequest) -> Result<Answer, Fault> {
    let now = desk.clock.now_millis();
    let held = Held::of(&desk.config, team);
    let mut asked_for = query::list_events(team, &asked, now)?;
    asked_for.paused = held.connections();
    let (limit, range) = (asked_for.limit, range(asked_for.from, asked_for.to, now));
    let mut found = desk.store.events(asked_for).await?;
    found.iter_mut().for_each(|event| held.mark(event));
    let (models, pagination) = page(found.iter().map(render::event), limit, |row| &row.id);
    Ok(Answer::ListEvents(ListEventsResponse {
        count: count(&models),
        pagination: Some(pagination),
        models,
        applied_range: Some(range),
        ..ListEventsResponse::default()
    }))
}

async fn count_events(desk: &Desk, team: &str, asked: CountEventsRequest) -> Result<Answer, Fault> {
    let mut asked_for = query::count_events(team, &asked, desk.clock.now_millis())?;
    asked_for.paused = Held::of(&desk.config, team).connections();
    let totals = desk.store.count_events(asked_for).await?;
    Ok(Answer::CountEvents(CountEventsResponse {
        count: totals.scheduled
            + totals.queued
            + totals.hold
            + totals.successful
            + totals.failed
            + totals.cancelled,
        scheduled: totals.scheduled,
        queued: totals.queued,
        hold: totals.hold,
        successful: totals.successful,
        failed: totals.failed,
        cancelled: totals.cancelled,
        ..CountEventsResponse::default()
    }))
}

async fn list_attempts(
    desk: &Desk,
    team: &str,
    asked: ListAttemptsRequest,
) -> Result<Answer, Fault> {
    let asked_for = query::list_attempts(team, &asked, desk.clock.now_millis())?;
    let limit = asked_for.limit;
    let found = desk.store.attempts(asked_for).await?;
    let rows = found
        .iter()
        .map(|record| render::attempt(record, Share::Whole));
    let (models, pagination) = page(rows, limit, |row| &row.id);
    Ok(Answer::ListAttempts(ListAttemptsResponse {
        count: count(&models),
        pagination: Some(pagination),
        models,
        ..ListAttemptsResponse::default()
    }))
}

async fn retry(desk: &Desk, team: &str, event_id: String) -> Result<Answer, Fault> {
    let now = desk.clock.now_millis();
    let ids = desk
        .ids
        .get()
        .ok_or_else(|| Fault::unavailable("the agent is not enrolled"))?;
    let new_id = ids.mint(Kind::Event, now);
    let made = desk.store.retry_event(team, &event_id, new_id, now).await?;
    Ok(Answer::RetryEvent(RetryEventResponse {
        event_id,
        replay_event_id: made.id,
    }))
}

/// Takes rows until the page or the message is full; at least one.
fn page<T: Message>(
    rows: impl Iterator<Item = T>,
    limit: u32,
    id: impl Fn(&T) -> &String,
) -> (Vec<T>, Pagination) {
    let (mut models, mut size, mut cut) = (Vec::new(), 0, false);
    for row in rows {
        size += row.encoded_len();
        if size > MAX_ROWS && !models.is_empty() {
            cut = true;
            break;
        }
        models.push(row);
    }
    let more = cut || models.len() >= limit as usize;
    let next = models.last().filter(|_| more).map(|row| id(row).clone());
    let pagination = Pagination {
        order_by: "created_at".to_owned(),
        dir: "desc".to_owned(),
        limit,
        next: next.unwrap_or_default(),
    };
    (models, pagination)
}

fn count<T>(models: &[T]) -> u32 {
    u32::try_from(models.len()).unwrap_or(u32::MAX)
}

fn range(from: Option<u64>, to: Option<u64>, now: u64) -> AppliedRange {
    AppliedRange {
        from: from.map(timestamp),
        to: Some(timestamp(to.unwrap_or(now))),
    }
}
