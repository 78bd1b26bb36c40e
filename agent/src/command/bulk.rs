//! Steps of bulk operations: the next targets, sent again one by one, the oldest first.
//!
//! Owns what a step does and how far it came. Refuses to know how fast an operation goes and when it
//! ends; the control plane asks for one step after the other. Invariants: of one operation one step
//! is done at a time, to its end, also when nobody waits for it any more, so that a step asked for
//! again sees all that the first one made; a target behind `after_id` was dealt with.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use futures::{StreamExt as _, stream};
use hookplane_proto::agent::v1::command_stream_request::Result as Answer;
use hookplane_proto::agent::v1::{
    BulkStepCommand, BulkStepResult, PreviewBulkCommand, bulk_step_command, preview_bulk_command,
};
use hookplane_proto::id::Id;
use hookplane_proto::v1::{self, BulkPreview, BulkPreviewGroup, ReplayRequestRequest};
use tokio::sync::oneshot;

use super::fault::Fault;
use super::{Desk, query, replay};
use crate::clock::timestamp;
use crate::ids::Kind;
use crate::store::{
    EventQuery, EventStatus, RequestQuery, RetryError, SentAgain, Target, TargetPage,
};

/// Targets of one step.
const LONGEST_STEP: u32 = 1_000;
/// Events that are made at once: they share the store's flushes.
const EVENTS_AT_ONCE: usize = 64;
/// Each may have a body of 16 MiB.
const REQUESTS_AT_ONCE: usize = 4;
const SAMPLE: u32 = 5;
/// Of an answer.
const MOST_GROUPS: usize = 1_000;

/// Operations of which a step is under way. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Bulks(Arc<Mutex<HashSet<String>>>);

/// Until it is dropped, no other step of the operation begins.
struct Turn {
    bulks: Bulks,
    operation_id: String,
}

impl Bulks {
    fn enter(&self, operation_id: &str) -> Option<Turn> {
        let mut under_way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.insert(operation_id.to_owned()).then(|| Turn {
            bulks: self.clone(),
            operation_id: operation_id.to_owned(),
        })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut under_way = self.bulks.0.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.remove(&self.operation_id);
    }
}

/// What an operation takes.
enum Selection {
    Events(EventQuery),
    Requests(RequestQuery),
}

/// What became of one target.
enum Dealt {
    Made,
    Skipped(String),
    /// Nothing is known of it: the step ends before it.
    Undone(Fault),
}

pub(super) async fn step(
    desk: &Arc<Desk>,
    team: &str,
    asked: BulkStepCommand,
) -> Result<Answer, Fault> {
    let kind = Kind::BulkOperation;
    Id::parse(kind, &asked.operation_id)
        .map_err(|error| Fault::invalid(format!("`operation_id`: {error}"), "give a bch_ id"))?;
    if asked.limit == 0 {
        // Only counts, so it need not wait for a step.
        let mut told = BulkStepResult {
            after_id: asked.after_id,
            ..BulkStepResult::default()
        };
        count(desk, &asked.operation_id, asked.count_all, &mut told).await?;
        return Ok(Answer::BulkStep(told));
    }
    let Some(turn) = desk.bulks.enter(&asked.operation_id) else {
        return Err(Fault::unavailable("a step of the operation is under way"));
    };
    let (own, team) = (Arc::clone(desk), team.to_owned());
    let (reply, answer) = oneshot::channel();
    desk.tasks.spawn(async move {
        let outcome = run(&own, &team, asked).await;
        drop(turn);
        // Nobody waits for it any more.
        reply.send(outcome).ok();
    });
    let outcome = answer.await;
    let outcome = outcome.map_err(|_| Fault::unavailable("the step broke off"))?;
    Ok(Answer::BulkStep(outcome?))
}

async fn run(desk: &Desk, team: &str, asked: BulkStepCommand) -> Result<BulkStepResult, Fault> {
    let now = desk.clock.now_millis();
    let selection = match asked.selection {
        Some(bulk_step_command::Selection::Events(events)) => events_of(team, &events, now)?,
        Some(bulk_step_command::Selection::Requests(requests)) => {
            requests_of(team, &requests, now)?
        }
        None => return Err(nothing_selected()),
    };
    let again = match &selection {
        Selection::Events(query) => !query.unretried,
        Selection::Requests(query) => !query.unreplayed,
    };
    let operation = asked.operation_id.as_str();
    let before = desk.store.count_operation(operation, false).await?;
    let waiting = u32::try_from(before.queued).unwrap_or(u32::MAX);
    let room = asked.most_queued.saturating_sub(waiting);
    let limit = asked.limit.min(room).min(LONGEST_STEP);
    let mut told = BulkStepResult {
        after_id: asked.after_id.clone(),
        ..BulkStepResult::default()
    };
    if limit > 0 {
        let page = TargetPage {
            operation_id: operation.to_owned(),
            after_id: Some(asked.after_id).filter(|id| !id.is_empty()),
            limit,
        };
        let (kind, targets) = next(desk, selection, page).await?;
        told.exhausted = targets.len() < limit as usize;
        let at_once = match kind {
            Kind::Event => EVENTS_AT_ONCE,
            _ => REQUESTS_AT_ONCE,
        };
        // All of them to their end, also behind one that could not be done: what was begun may be written.
        let dealt: Vec<(String, Dealt)> = stream::iter(targets)
            .map(|target| deal(desk, (team, operation), (kind, target), again))
            .buffered(at_once)
            .collect()
            .await;
        note(&mut told, dealt)?;
    }
    count(desk, operation, asked.count_all, &mut told).await?;
    Ok(told)
}

/// How what the operation made stands now.
async fn count(
    desk: &Desk,
    operation: &str,
    all: bool,
    told: &mut BulkStepResult,
) -> Result<(), Fault> {
    let counted = desk.store.count_operation(operation, all).await?;
    told.queued = counted.queued;
    told.scheduled = counted.scheduled;
    told.failed = counted.failed;
    told.cancelled = counted.cancelled;
    if all {
        told.events = counted.queued
            + counted.scheduled
            + counted.failed
            + counted.cancelled
            + counted.successful;
    }
    Ok(())
}

/// Takes note up to the first target that could not be dealt with, if there is one.
fn note(told: &mut BulkStepResult, dealt: Vec<(String, Dealt)>) -> Result<(), Fault> {
    for (id, dealt) in dealt {
        match dealt {
            Dealt::Made => told.made += 1,
            Dealt::Skipped(reason) => {
                told.skipped += 1;
                told.skipped_reason = format!("{id}: {reason}");
            }
            Dealt::Undone(fault) => {
                told.exhausted = false;
                // Without any progress the reason is the answer.
                return match told.made + told.skipped {
                    0 => Err(fault),
                    _ => Ok(()),
                };
            }
        }
        told.after_id = id;
    }
    Ok(())
}

async fn next(
    desk: &Desk,
    selection: Selection,
    page: TargetPage,
) -> Result<(Kind, Vec<Target>), Fault> {
    Ok(match selection {
        Selection::Events(query) => {
            // What was sent again is looked at, to be told apart.
            let query = EventQuery {
                unretried: false,
                ..query
            };
            (Kind::Event, desk.store.target_events(query, page).await?)
        }
        Selection::Requests(query) => {
            let query = RequestQuery {
                unreplayed: false,
                ..query
            };
            (
                Kind::Request,
                desk.store.target_requests(query, page).await?,
            )
        }
    })
}

async fn deal(
    desk: &Desk,
    (team, operation): (&str, &str),
    (kind, target): (Kind, Target),
    again: bool,
) -> (String, Dealt) {
    let Target { id, sent_again } = target;
    let dealt = match sent_again {
        SentAgain::ByIt => Dealt::Made,
        SentAgain::Otherwise if !again => {
            Dealt::Skipped("it was sent again by somebody else".to_owned())
        }
        SentAgain::Otherwise | SentAgain::Never if kind == Kind::Event => {
            retry(desk, team, operation, &id).await
        }
        SentAgain::Otherwise | SentAgain::Never => {
            let asked = ReplayRequestRequest {
                id: id.clone(),
                ..ReplayRequestRequest::default()
            };
            match replay::replay(desk, team, asked, Some(operation)).await {
                Ok(_) => Dealt::Made,
                Err(fault) if fault.is_of_the_target() => Dealt::Skipped(fault.message()),
                Err(fault) => Dealt::Undone(fault),
            }
        }
    };
    (id, dealt)
}

async fn retry(desk: &Desk, team: &str, operation: &str, id: &str) -> Dealt {
    let now = desk.clock.now_millis();
    let Some(ids) = desk.ids.get() else {
        return Dealt::Undone(Fault::unavailable("the agent is not enrolled"));
    };
    let new_id = ids.mint(Kind::Event, now);
    let made = desk
        .store
        .retry_in_bulk(team, id, (new_id, operation), now)
        .await;
    match made {
        Ok(_) => Dealt::Made,
        Err(RetryError::Store(error)) => Dealt::Undone(error.into()),
        Err(refused) => Dealt::Skipped(refused.to_string()),
    }
}

pub(super) async fn preview(
    desk: &Desk,
    team: &str,
    asked: PreviewBulkCommand,
) -> Result<Answer, Fault> {
    let now = desk.clock.now_millis();
    let preview = match asked.selection {
        Some(preview_bulk_command::Selection::Events(events)) => {
            events_of(team, &events, now)?.preview(desk).await?
        }
        Some(preview_bulk_command::Selection::Requests(requests)) => {
            requests_of(team, &requests, now)?.preview(desk).await?
        }
        None => return Err(nothing_selected()),
    };
    Ok(Answer::PreviewBulk(preview))
}

impl Selection {
    async fn preview(self, desk: &Desk) -> Result<BulkPreview, Fault> {
        let (count, mut groups, sample_ids) = match self {
            Self::Events(query) => {
                let totals = desk.store.count_events(query.clone()).await?;
                let groups = desk.store.group_events(query.clone()).await?;
                let groups = groups.into_iter().map(|group| BulkPreviewGroup {
                    connection_id: group.connection_id,
                    status: status_name(group.status).to_owned(),
                    count: group.count,
                    oldest_at: made_at(Kind::Event, &group.oldest_id),
                    newest_at: made_at(Kind::Event, &group.newest_id),
                    ..BulkPreviewGroup::default()
                });
                let groups = groups.collect();
                let sample = desk.store.events(query).await?;
                let sample = sample.into_iter().map(|event| event.id).collect::<Vec<_>>();
                let count = totals.successful + totals.failed + totals.cancelled;
                (count, groups, sample)
            }
            Self::Requests(query) => {
                let totals = desk.store.count_requests(query.clone()).await?;
                let groups = desk.store.group_requests(query.clone()).await?;
                let groups = groups.into_iter().map(|group| BulkPreviewGroup {
                    source_id: group.source_id,
                    status: if group.rejected {
                        "rejected"
                    } else {
                        "accepted"
                    }
                    .to_owned(),
                    count: group.count,
                    oldest_at: made_at(Kind::Request, &group.oldest_id),
                    newest_at: made_at(Kind::Request, &group.newest_id),
                    ..BulkPreviewGroup::default()
                });
                let groups: Vec<_> = groups.collect();
                let sample = desk.store.requests(query, false).await?;
                let sample = sample.into_iter().map(|(request, _)| request.id).collect();
                (totals.accepted + totals.rejected, groups, sample)
            }
        };
        groups = joined(groups);
        let time = |one: &prost_types::Timestamp| (one.seconds, one.nanos);
        let oldest = groups.iter().filter_map(|group| group.oldest_at);
        let newest = groups.iter().filter_map(|group| group.newest_at);
        Ok(BulkPreview {
            count,
            oldest_at: oldest.min_by_key(time),
            newest_at: newest.max_by_key(time),
            models: groups,
            sample_ids,
            ..BulkPreview::default()
        })
    }
}

/// What the store tells apart by cause as well is one group here.
fn joined(groups: Vec<BulkPreviewGroup>) -> Vec<BulkPreviewGroup> {
    let mut joined: Vec<BulkPreviewGroup> = Vec::new();
    for group in groups {
        let same = |known: &&mut BulkPreviewGroup| {
            known.connection_id == group.connection_id
                && known.source_id == group.source_id
                && known.status == group.status
        };
        let Some(known) = joined.iter_mut().find(same) else {
            joined.push(group);
            continue;
        };
        let time = |one: &prost_types::Timestamp| (one.seconds, one.nanos);
        known.count += group.count;
        let oldest = [known.oldest_at, group.oldest_at].into_iter().flatten();
        known.oldest_at = oldest.min_by_key(time);
        let newest = [known.newest_at, group.newest_at].into_iter().flatten();
        known.newest_at = newest.max_by_key(time);
    }
    joined.truncate(MOST_GROUPS);
    joined
}

fn events_of(team: &str, asked: &v1::EventSelection, now: u64) -> Result<Selection, Fault> {
    let list = v1::ListEventsRequest {
        from: asked.from.clone(),
        to: asked.to.clone(),
        limit: SAMPLE,
        status: asked.status,
        source_id: asked.source_id.clone(),
        connection_id: asked.connection_id.clone(),
        destination_id: asked.destination_id.clone(),
        handler_outcome: asked.handler_outcome,
        ..v1::ListEventsRequest::default()
    };
    let query = query::list_events(team, &list, now)?;
    if !matches!(
        query.status,
        Some(EventStatus::Failed | EventStatus::Successful)
    ) {
        let message = "`status`: only what has failed or was delivered can be sent again";
        return Err(Fault::invalid(message, "give FAILED or SUCCESSFUL"));
    }
    Ok(Selection::Events(EventQuery {
        unretried: !asked.include_retried,
        ..query
    }))
}

fn requests_of(team: &str, asked: &v1::RequestSelection, now: u64) -> Result<Selection, Fault> {
    let list = v1::ListRequestsRequest {
        from: asked.from.clone(),
        to: asked.to.clone(),
        limit: SAMPLE,
        status: asked.status,
        source_id: asked.source_id.clone(),
        verified: asked.verified,
        event_type: asked.event_type.clone(),
        ..v1::ListRequestsRequest::default()
    };
    Ok(Selection::Requests(RequestQuery {
        unreplayed: !asked.include_replayed,
        ..query::list_requests(team, &list, now)?
    }))
}

fn nothing_selected() -> Fault {
    Fault::invalid("the operation selects nothing", "give events or requests")
}

fn made_at(kind: Kind, id: &str) -> Option<prost_types::Timestamp> {
    Some(timestamp(Id::parse(kind, id).ok()?.millis()))
}

const fn status_name(status: EventStatus) -> &'static str {
    match status {
        EventStatus::Scheduled => "SCHEDULED",
        EventStatus::Queued => "QUEUED",
        EventStatus::Hold => "HOLD",
        EventStatus::Successful => "SUCCESSFUL",
        EventStatus::Failed => "FAILED",
        EventStatus::Cancelled => "CANCELLED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_ends_before_the_first_target_that_could_not_be_dealt_with() {
        let mut told = BulkStepResult {
            exhausted: true,
            ..BulkStepResult::default()
        };
        let undone = || Dealt::Undone(Fault::unavailable("busy"));
        let dealt = vec![
            ("evt_1".to_owned(), Dealt::Made),
            ("evt_2".to_owned(), undone()),
            // Made all the same: the next step finds it.
            ("evt_3".to_owned(), Dealt::Made),
        ];
        note(&mut told, dealt).unwrap();
        assert_eq!((told.after_id.as_str(), told.made), ("evt_1", 1));
        assert!(!told.exhausted, "the rest was given up");
        let nothing = note(
            &mut BulkStepResult::default(),
            vec![(String::new(), undone())],
        );
        assert!(nothing.is_err(), "a step that does nothing says why");
    }

    #[tokio::test]
    async fn counting_waits_for_no_step_that_is_under_way() {
        let folder = tempfile::tempdir().unwrap();
        let (_store, desk) = crate::command::testing::desk(&folder, 0);
        let desk = Arc::new(desk);
        let operation_id = crate::ids::IdMint::new(1).mint(Kind::BulkOperation, 1);
        let _turn = desk.bulks.enter(&operation_id).unwrap();
        let asked = |limit| BulkStepCommand {
            operation_id: operation_id.clone(),
            limit,
            ..BulkStepCommand::default()
        };
        let refused = step(&desk, "tm_1", asked(1)).await;
        assert!(refused.is_err(), "two steps at a time");
        let counted = step(&desk, "tm_1", asked(0)).await;
        assert!(matches!(counted, Ok(Answer::BulkStep(_))));
    }

    #[test]
    fn one_step_of_an_operation_is_done_at_a_time() {
        let bulks = Bulks::default();
        let turn = bulks.enter("bch_1").unwrap();
        assert!(bulks.enter("bch_1").is_none() && bulks.enter("bch_2").is_some());
        drop(turn);
        assert!(bulks.enter("bch_1").is_some());
    }
}
