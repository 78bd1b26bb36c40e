//! What is handed in: made into records, checked where a check is needed, appended, awaited.
//!
//! Invariants: an answer leaves only after the flush; what was handed in takes its effect whether
//! or not the caller still waits for the answer.

mod branches;
mod orders;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hookplane_journal::{AppendError, Appending, Health, Record};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::JournalStore;
use super::doors::{Arrival, Claim};
use super::entry::{self, Counted, Entry, Head, Key, KeyEntry, Repeat};
use super::follow::Order;
use super::handover::{Courier, Said};
use super::index::{failed, read, write};
use super::parts::Parts;
use crate::ids::{IdMint, Kind};
use crate::store::{
    Appended, Completion, EventRecord, EventStatus, Lineage, NewRequest, RequestRecord, RetryKind,
    StoreError,
};

/// How long an arrival waits for others of the same message, one after the other.
const CLAIM: Duration = Duration::from_secs(10);
const MINUTE: u64 = 60_000;

impl JournalStore {
    pub(super) async fn take_request(
        &self,
        new: NewRequest,
        ids: IdMint,
    ) -> Result<Appended, StoreError> {
        let parts = self.parts();
        parts.admits(new.request.rejection.is_some())?;
        let now = new.request.ingested_at;
        let deadline = Instant::now() + CLAIM;
        let Some((key, expires_at)) = key_of(&new) else {
            self.write_branches(new, None, None, deadline).await?;
            return Ok(Appended::New);
        };
        let (claim, recent) = self.claim(key, now, expires_at, deadline).await?;
        let first = match recent {
            None => None,
            Some(recent) => self.known(key, now, recent).await?,
        };
        if let Some(first) = first {
            return self.take_repeat(&new.request, first, ids, claim).await;
        }
        if recent == Some(true) {
            // Into the newest generation, where it stays as long as this message counts.
            parts.doors.lock().filter.insert(&key, expires_at);
        }
        self.write_branches(new, Some((key, expires_at)), Some(claim), deadline)
            .await?;
        Ok(Appended::New)
    }

    /// The claim on a key, with whether somebody may have written it: `Some(true)` a moment ago.
    async fn claim(
        &self,
        key: Key,
        now: u64,
        expires_at: u64,
        deadline: Instant,
    ) -> Result<(Claim, Option<bool>), StoreError> {
        loop {
            match self.parts().doors.arrive(key, now, expires_at) {
                Arrival::Wait(told) => {
                    // An error only means that the claim is free.
                    let waited = tokio::time::timeout_at(deadline, told).await;
                    drop(waited.map_err(|_| StoreError::Busy)?);
                }
                Arrival::New(claim) => return Ok((claim, None)),
                Arrival::Perhaps { claim, recent } => return Ok((claim, Some(recent))),
            }
        }
    }

    async fn known(&self, key: Key, now: u64, recent: bool) -> Result<Option<String>, StoreError> {
        if recent || !self.parts().progress.has_caught_up() {
            self.parts().indexed().await?;
        }
        self.parts()
            .readers
            .arrivals
            .ask(move |db| read::known(db, &key, now))
            .await
    }

    async fn write_request(
        &self,
        new: NewRequest,
        key: Option<(Key, u64)>,
        branch_keys: Vec<KeyEntry>,
        claims: Vec<Claim>,
    ) -> Result<(), StoreError> {
        let head = Head {
            key,
            repeats: 0,
            request: new.request,
            events: new.events,
        };
        // Held until the fate of the records is known.
        let told = move |_: &_| drop(claims);
        let mut records = Vec::from(entry::request_records(&head, false));
        if branch_keys.is_empty() {
            let said = Said::request(head);
            return self.write(records, false, Some(said), told).await;
        }
        // Behind the request: a key without its request would hide the next one for nothing.
        records.push(entry::keys_record(&branch_keys));
        self.write(records, false, None, told).await
    }

    /// Keeps the arrival and queues anew exactly the branches that failed for good (G4).
    async fn take_repeat(
        &self,
        arrival: &RequestRecord,
        first_request_id: String,
        ids: IdMint,
        claim: Claim,
    ) -> Result<Appended, StoreError> {
        let parts = self.parts();
        let now = arrival.ingested_at;
        // A request that is being deleted has nothing left to heal.
        let hold = parts.doors.hold(&first_request_id);
        let id = first_request_id.clone();
        let (dead, kept) = self
            .ask_in(
                |readers| &readers.arrivals,
                move |db, _| Ok((read::dead_branches(db, &id)?, read::kept_repeats(db, &id)?)),
            )
            .await?;
        let requeued: Vec<EventRecord> = dead
            .iter()
            .map(|parent| child(parent, RetryKind::Resend, ids.mint(Kind::Event, now), now))
            .collect();
        let hold = match hold {
            Some(hold) if !requeued.is_empty() || kept < write::KEPT_REPEATS => hold,
            _ => {
                self.count_repeat(arrival, &first_request_id);
                return Ok(Appended::Repeat {
                    first_request_id,
                    requeued: Vec::new(),
                });
            }
        };
        let repeat = Repeat {
            request_id: first_request_id.clone(),
            team_id: arrival.team_id.clone(),
            source_id: arrival.source_id.clone(),
            received_at: now,
            client_ip: arrival.client_ip.clone(),
            requeued: requeued.clone(),
        };
        let record = entry::repeat_record(&repeat);
        let told = move |outcome: &Outcome| {
            hold.told(outcome);
            drop(claim);
        };
        let said = Said::alone(Entry::Repeat(repeat));
        self.write(vec![record], false, Some(said), told).await?;
        if !requeued.is_empty() {
            self.seen().await;
        }
        Ok(Appended::Repeat {
            first_request_id,
            requeued,
        })
    }

    fn count_repeat(&self, arrival: &RequestRecord, first_request_id: &str) {
        let full = self.parts().doors.count(Counted {
            request_id: first_request_id.to_owned(),
            team_id: arrival.team_id.clone(),
            source_id: arrival.source_id.clone(),
            minute: arrival.ingested_at / MINUTE * MINUTE,
        });
        if full {
            // If there is no room the next one asks again.
            drop(self.handle.orders.try_send(Order::WriteCounts));
            self.parts().progress.raise();
        }
    }

    pub(super) async fn take_completion(&self, completion: Completion) -> Result<(), StoreError> {
        let Completion { attempt, status } = completion;
        let record = entry::attempt_record(&attempt, status);
        let settling = Settling::of(self.parts(), attempt.event_id.clone());
        let told = |outcome: &Outcome| settling.told(outcome);
        let said = Said::alone(Entry::Attempt(Box::new(attempt), status));
        self.write(vec![record], true, Some(said), told).await
    }

    /// Waits until what was just written is seen by who asks next. It is on stable storage, so
    /// that this takes long is no error: asked again it would be done twice.
    async fn seen(&self) {
        if let Err(error) = self.parts().applied().await {
            tracing::debug!(%error, "what was written takes its effect later");
        }
    }

    pub(super) async fn take_number(&self, number: u32) -> Result<(), StoreError> {
        let parts = self.parts();
        if parts.doors.lock().number.is_none() {
            let doors = Arc::clone(&parts.doors);
            let record = entry::number_record(number);
            self.write(vec![record], false, None, move |outcome| {
                if outcome.is_ok() {
                    // The first one stays.
                    doors.lock().number.get_or_insert(number);
                }
            })
            .await?;
        }
        let kept = parts.doors.lock().number.unwrap_or(number);
        if kept == number {
            return Ok(());
        }
        Err(StoreError::Corrupt {
            table: "fact",
            id: "number".to_owned(),
            fault: format!("the store is number {kept} and cannot become {number}"),
        })
    }

    pub(super) async fn take_report(&self, payload: Vec<u8>) -> Result<u64, StoreError> {
        let parts = self.parts();
        let (sequence, appending) = {
            // One lock over both, so that numbers stand in their order in the journal.
            let mut inside = parts.doors.lock();
            let sequence = inside.spool.last + 1;
            let told = Arc::clone(&parts.doors);
            let record = entry::report_record(sequence, &payload);
            let appending = self.submit(vec![record], false, None, move |outcome| {
                told.lock().spool.put(sequence, outcome);
            })?;
            inside.spool.last = sequence;
            inside.spool.changing += 1;
            (sequence, appending)
        };
        appending.await.map_err(refused)?;
        Ok(sequence)
    }

    pub(super) async fn take_amendment(
        &self,
        sequence: u64,
        payload: Vec<u8>,
    ) -> Result<bool, StoreError> {
        let parts = self.parts();
        let appending = {
            let mut inside = parts.doors.lock();
            if !inside.spool.waiting.contains_key(&sequence) {
                return Ok(false);
            }
            let told = Arc::clone(&parts.doors);
            let record = entry::report_record(sequence, &payload);
            let appending = self.submit(vec![record], false, None, move |outcome| {
                told.lock().spool.put(sequence, outcome);
            })?;
            inside.spool.changing += 1;
            appending
        };
        appending.await.map_err(refused)?;
        Ok(parts.doors.lock().spool.waiting.contains_key(&sequence))
    }

    pub(super) async fn take_acknowledgement(&self, up_to: u64) -> Result<(), StoreError> {
        let parts = self.parts();
        let appending = {
            let mut inside = parts.doors.lock();
            let told = Arc::clone(&parts.doors);
            let record = entry::acknowledged_record(up_to);
            let appending = self.submit(vec![record], true, None, move |outcome| {
                let spool = &mut told.lock().spool;
                spool.changing = spool.changing.saturating_sub(1);
                if outcome.is_ok() {
                    spool.drop_to(up_to);
                }
            })?;
            inside.spool.changing += 1;
            appending
        };
        appending.await.map(drop).map_err(refused)
    }

    /// Fails events that cannot be sent because what was stored cannot be read. They count as
    /// settling from here on, so that the next look neither finds them nor waits for this one.
    pub(super) async fn give_up_on(
        &self,
        events: Vec<(String, String)>,
        now: u64,
    ) -> Result<(), StoreError> {
        let mut records = Vec::new();
        let mut settling = Vec::new();
        for (event_id, reason) in events {
            tracing::error!(event.id = event_id, reason, "an event cannot be read back");
            records.push(entry::broken_record(&event_id, now, &reason));
            settling.push(Settling::of(self.parts(), event_id));
        }
        let told = move |outcome: &Outcome| Settling::all_told(settling, outcome);
        self.write(records, true, None, told).await
    }

    /// Writes and flushes a block that is written over each time, and asks the journal how it fares.
    pub(super) async fn try_disk(&self) -> Result<(), StoreError> {
        match self.parts().journal.health() {
            Health::Writable => {}
            Health::Full => return Err(failed(NotWritable("its disk is full"))),
            Health::Failing => return Err(failed(NotWritable("its disk fails"))),
        }
        if self.parts().over_volume.load(Ordering::Relaxed) {
            return Err(failed(NotWritable("its volume is full of what waits")));
        }
        let path = self.parts().index_path.with_file_name("probe");
        let probed = tokio::task::spawn_blocking(move || {
            use std::io::Write as _;
            let mut options = std::fs::OpenOptions::new();
            let mut file = options
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)?;
            file.write_all(&[0; 512])?;
            file.sync_data()
        });
        probed.await.map_err(failed)?.map_err(failed)
    }

    /// `said` is what the records say, to be handed to the follower.
    async fn write(
        &self,
        records: Vec<Record>,
        urgent: bool,
        said: Option<Said>,
        told: impl FnOnce(&Outcome) + Send + 'static,
    ) -> Result<(), StoreError> {
        let appending = self.submit(records, urgent, said, told)?;
        appending.await.map(drop).map_err(refused)
    }

    fn submit(
        &self,
        records: Vec<Record>,
        urgent: bool,
        said: Option<Said>,
        told: impl FnOnce(&Outcome) + Send + 'static,
    ) -> Result<Appending, StoreError> {
        let parts = self.parts();
        if parts.closed.load(Ordering::Acquire) {
            return Err(StoreError::Closed);
        }
        let courier = Box::new(Courier::of(parts, &records, said, told));
        let appending = parts.journal.append_witnessed(records, urgent, courier);
        appending.map_err(refused)
    }
}

type Outcome = Result<Vec<hookplane_journal::Position>, AppendError>;

/// Why a probe failed without being tried.
#[derive(Debug, thiserror::Error)]
#[error("the store takes no new requests: {0}")]
struct NotWritable(&'static str);

/// An event whose completion, or that it failed, is handed in, until the follower sees it or it has failed.
pub(super) struct Settling {
    parts: Arc<Parts>,
    event_id: String,
    seen_by_follower: bool,
}

impl Settling {
    pub(super) fn of(parts: &Arc<Parts>, event_id: String) -> Self {
        parts.pending().handed_in(&event_id);
        Self {
            parts: Arc::clone(parts),
            event_id,
            seen_by_follower: false,
        }
    }

    fn told(mut self, outcome: &Outcome) {
        self.seen_by_follower = outcome.is_ok();
    }

    pub(super) fn all_told(all: Vec<Self>, outcome: &Outcome) {
        for one in all {
            one.told(outcome);
        }
    }
}

impl Drop for Settling {
    fn drop(&mut self) {
        if !self.seen_by_follower {
            self.parts.pending().settled(&self.event_id);
        }
    }
}

fn refused(error: AppendError) -> StoreError {
    match error {
        AppendError::Busy => StoreError::Busy,
        AppendError::Closed => StoreError::Closed,
        other => failed(other),
    }
}

/// What makes a message the same one, and until when; `None` without a message id, if refused, and
/// for a replay.
fn key_of(new: &NewRequest) -> Option<(Key, u64)> {
    let request = &new.request;
    let message_id = request.message_id.as_ref()?;
    // A replay is wanted, whatever came before.
    if request.rejection.is_some() || request.replay.is_some() {
        return None;
    }
    let mut hash = Sha256::new();
    hash.update((request.source_id.len() as u64).to_le_bytes());
    hash.update(&request.source_id);
    hash.update(message_id);
    let mut key = Key::default();
    let length = key.len();
    key.copy_from_slice(&hash.finalize()[..length]);
    Some((
        key,
        request.ingested_at.saturating_add(new.dedupe_window_millis),
    ))
}

fn child(parent: &EventRecord, kind: RetryKind, id: String, now: u64) -> EventRecord {
    EventRecord {
        id,
        status: EventStatus::Queued,
        attempts: 0,
        response_status: None,
        error_code: None,
        failure_message: None,
        ignored_reason: None,
        ignored_detail: None,
        created_at: now,
        last_attempt_at: None,
        next_attempt_at: Some(now),
        successful_at: None,
        retry: Some(Lineage {
            kind,
            parent_event_id: parent.id.clone(),
        }),
        handler: None,
        operation_id: None,
        ..parent.clone()
    }
}
