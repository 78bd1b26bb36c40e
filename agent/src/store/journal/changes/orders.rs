//! What is ordered rather than received: an event again, a connection stopped, old requests gone.

use std::sync::Arc;
use std::time::Duration;

use hookplane_journal::Position;
use tokio::sync::oneshot;

use super::super::JournalStore;
use super::super::entry::{self, Entry, HandlerNote};
use super::super::follow::Order;
use super::super::handover::Said;
use super::super::index::{failed, read};
use super::super::table::is_pending;
use super::{Outcome, Settling, child, refused};
use crate::store::{
    CancelError, EventRecord, EventStatus, HandlerReport, IgnoredReason, Noted, RetryError,
    RetryKind, StoreError,
};

/// How long who cancels waits for the end of it.
const CANCEL: Duration = Duration::from_secs(10);
/// Deletion and moving are done between other work.
const RETENTION: Duration = Duration::from_secs(60);

impl JournalStore {
    pub(in super::super) async fn take_retry(
        &self,
        team_id: &str,
        parent_id: &str,
        (new_id, operation_id): (String, Option<&str>),
        now: u64,
    ) -> Result<EventRecord, RetryError> {
        let find = |team: String, id: String| self.ask(move |db, _| read::event(db, &team, &id));
        let found = find(team_id.to_owned(), parent_id.to_owned()).await?;
        let request_id = found.ok_or(RetryError::NotFound)?.request_id;
        let hold = self.parts().doors.hold(&request_id);
        let hold = hold.ok_or(RetryError::NotFound)?;
        // Again: between the first look and the hold it may have been deleted.
        let found = find(team_id.to_owned(), parent_id.to_owned()).await?;
        let parent = found.ok_or(RetryError::NotFound)?;
        match parent.status {
            EventStatus::Successful | EventStatus::Failed => {}
            EventStatus::Cancelled if parent.ignored_reason == Some(IgnoredReason::Operator) => {}
            EventStatus::Cancelled => return Err(RetryError::Ignored),
            pending => return Err(RetryError::Pending(pending)),
        }
        let kind = match operation_id {
            Some(_) => RetryKind::Bulk,
            None => RetryKind::Single,
        };
        let event = EventRecord {
            operation_id: operation_id.map(str::to_owned),
            ..child(&parent, kind, new_id, now)
        };
        let told = move |outcome: &Outcome| hold.told(outcome);
        let record = entry::retry_record(&event);
        let said = Said::alone(Entry::Retry(Box::new(event.clone())));
        self.write(vec![record], false, Some(said), told).await?;
        self.seen().await;
        Ok(event)
    }

    pub(in super::super) async fn take_event_cancel(
        &self,
        team_id: &str,
        id: &str,
        detail: &str,
        now: u64,
    ) -> Result<EventRecord, CancelError> {
        let find = |team: String, id: String| self.ask(move |db, _| read::event(db, &team, &id));
        let found = find(team_id.to_owned(), id.to_owned()).await?;
        let event = found.ok_or(CancelError::NotFound)?;
        if !is_pending(event.status) {
            return Err(CancelError::Ended(event.status));
        }
        let settling = Settling::of(self.parts(), id.to_owned());
        let record = entry::cancel_event_record(id, now, detail);
        let told = move |outcome: &Outcome| Settling::all_told(vec![settling], outcome);
        self.write(vec![record], true, None, told).await?;
        self.seen().await;
        let ended = find(team_id.to_owned(), id.to_owned()).await?;
        let ended = ended.ok_or(CancelError::NotFound)?;
        match ended.status {
            EventStatus::Cancelled => Ok(ended),
            // A try that was under way ended first.
            other => Err(CancelError::Ended(other)),
        }
    }

    pub(in super::super) async fn take_handler_report(
        &self,
        team_id: &str,
        report: HandlerReport,
        now: u64,
    ) -> Result<Noted, StoreError> {
        let find = |team: String, id: String| self.ask(move |db, _| read::event(db, &team, &id));
        let found = find(team_id.to_owned(), report.event_id.clone()).await?;
        let ours = found.filter(|event| event.source_id == report.source_id);
        let Some(event) = ours else {
            return Ok(Noted::NotFound);
        };
        let attempt = match report.attempt {
            0 => event.attempts,
            number => number,
        };
        if attempt > event.attempts || attempt == 0 {
            return Ok(Noted::UnderWay);
        }
        if attempt < event.attempts || !event.awaits_word() {
            return Ok(Noted::Settled);
        }
        // An event that is being deleted needs no word any more.
        let Some(hold) = self.parts().doors.hold(&event.request_id) else {
            return Ok(Noted::NotFound);
        };
        let note = HandlerNote {
            request_id: event.request_id,
            event_id: event.id,
            attempt,
            at: now,
            handler: report.handler,
        };
        let record = entry::handler_note_record(&note);
        let told = move |outcome: &Outcome| hold.told(outcome);
        let said = Said::alone(Entry::HandlerNote(Box::new(note)));
        self.write(vec![record], false, Some(said), told).await?;
        Ok(Noted::Kept)
    }

    pub(in super::super) async fn take_cancel(
        &self,
        connection_id: &str,
        detail: &str,
    ) -> Result<u64, StoreError> {
        let parts = self.parts();
        if parts.pending().stopping.contains_key(connection_id) {
            return Ok(self.stopped(connection_id, None).await);
        }
        let record = entry::cancel_record(connection_id, detail);
        parts.pending().cancelling += 1;
        let told = Arc::clone(parts);
        let appending = self.submit(vec![record], true, None, move |outcome| {
            if outcome.is_err() {
                told.pending().cancel_seen();
            }
        });
        let appending = appending.inspect_err(|_| parts.pending().cancel_seen())?;
        let positions = appending.await.map_err(refused)?;
        Ok(self
            .stopped(connection_id, positions.first().copied())
            .await)
    }

    /// How many events the record at a place has stopped. A large connection is stopped bit by
    /// bit and nothing of it is sent meanwhile, so that this takes long is no error.
    async fn stopped(&self, connection_id: &str, at: Option<Position>) -> u64 {
        let parts = self.parts();
        let mut ended = parts.progress.stopped.subscribe();
        let deadline = tokio::time::Instant::now() + CANCEL;
        self.seen().await;
        parts.progress.raise();
        let count = || {
            let pending = parts.pending();
            let mut kept = pending.cancelled.iter();
            let own = kept.find(|(position, _)| Some(*position) == at);
            own.map(|(_, count)| *count)
        };
        let over = |_: &u64| {
            let under_way = parts.pending().stopping.contains_key(connection_id);
            !under_way || count().is_some()
        };
        let waited = tokio::time::timeout_at(deadline, ended.wait_for(over)).await;
        if waited.is_err() {
            tracing::info!(connection.id = connection_id, "stopping goes on");
        }
        count().unwrap_or(0)
    }

    /// Ends once the store's own threads have written what follows from everything that was written
    /// before. What comes next then depends on its callers alone, as a simulated run has to.
    ///
    /// # Errors
    /// `Busy`, `Closed` or `Unavailable`: that is not known.
    pub async fn at_rest(&self) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        let order = Order::Rest(reply);
        let sent = self.handle.orders.try_send(order);
        sent.map_err(|_| StoreError::Busy)?;
        self.parts().progress.raise();
        answer.await.map_err(|_| StoreError::Closed)?;
        // Behind it in the writer's queue.
        let gone = self.parts().journal.retain(Position::START).await;
        gone.map(drop).map_err(failed)
    }

    pub(in super::super) async fn order_retention(
        &self,
        before: u64,
        now: u64,
        limit: u32,
    ) -> Result<u64, StoreError> {
        // What was delivered by now counts as delivered.
        self.parts().indexed().await?;
        let (reply, answer) = oneshot::channel();
        let order = Order::Retain {
            before,
            now,
            limit,
            reply,
        };
        self.handle
            .orders
            .try_send(order)
            .map_err(|_| StoreError::Busy)?;
        self.parts().progress.raise();
        match tokio::time::timeout(RETENTION, answer).await {
            Ok(outcome) => outcome.map_err(|_| StoreError::Closed)?,
            Err(_) => Err(StoreError::Busy),
        }
    }
}
