//! Answers: the index says what there is and where, the journal gives it back.
//!
//! A record of a list that cannot be read is left out and named in the log, so that one does not
//! take the others with it; asked for by its id it is an error.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use hookplane_journal::Position;
use rusqlite::Connection;

use super::JournalStore;
use super::horizon::{Lane, Place, Waiting};
use super::index::read::{self, Found};
use super::index::{Pool, Readers, history, pages};
use super::parts::Parts;
use super::payloads::Unreadable;
use super::table::is_pending;
use crate::store::{
    AttemptQuery, AttemptRecord, DueEvent, DueQuery, Look, RequestCounts, RequestHistory,
    RequestQuery, RequestRecord, SpooledReport, StoreError,
};

/// Why an event fails that has no request.
const ORPHAN: &str = "there is no record of its request";
/// Times that what is due waits for memory to be filled up from the index.
const FILLINGS: usize = 3;
/// How long a list is filled up with others than those that cannot be read.
const FILLING_UP: Duration = Duration::from_secs(5);

impl JournalStore {
    /// Asks the index once it reflects everything acknowledged by now.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Connection, &Parts) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.ask_in(|readers| &readers.questions, question).await
    }

    /// As `ask`, on the connections of another kind of asker.
    pub(super) async fn ask_in<T: Send + 'static>(
        &self,
        pool: impl FnOnce(&Readers) -> &Arc<Pool> + Send,
        question: impl FnOnce(&Connection, &Parts) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let parts = Arc::clone(self.parts());
        parts.indexed().await?;
        let pool = Arc::clone(pool(&parts.readers));
        pool.ask(move |db| question(db, &parts)).await
    }

    /// Looks at some more of the events.
    pub(super) async fn look_at_books(&self) -> Result<u64, StoreError> {
        let look = move |db: &Connection, parts: &Parts| {
            let mut books = parts.books.lock().unwrap_or_else(PoisonError::into_inner);
            books.look_on(db)?;
            Ok(books.strays() + super::index::books::off(db)?)
        };
        self.ask_in(|readers| &readers.checks, look).await
    }

    pub(super) async fn find_due(&self, query: DueQuery) -> Result<Vec<DueEvent>, StoreError> {
        let parts = self.parts();
        parts.fresh().await?;
        let DueQuery {
            destination_id,
            connection_id,
            now,
            except,
            limit,
        } = query;
        let lane = Lane {
            destination_id,
            connection_id,
        };
        let limit = limit as usize;
        let mut waiting = Vec::new();
        for _ in 0..FILLINGS {
            let fillings = parts.progress.fillings();
            let (found, more) = {
                let pending = parts.pending();
                let except = except.ids();
                let wanted = |event: &crate::store::EventRecord| {
                    event.status != crate::store::EventStatus::Hold
                        && !pending.is_unapplied(&event.id)
                        && !except.contains(&event.id)
                };
                pending.horizons.due(&lane, now, limit, wanted)
            };
            waiting = found;
            // What is there is given even if no more comes in time.
            if !more || !parts.progress.next_filling(fillings).await {
                break;
            }
        }
        self.with_requests(waiting, now).await
    }

    async fn with_requests(
        &self,
        waiting: Vec<Waiting>,
        now: u64,
    ) -> Result<Vec<DueEvent>, StoreError> {
        let parts = self.parts();
        let mut due: Vec<(Waiting, Option<Arc<RequestRecord>>)> = {
            let pending = parts.pending();
            let cached = |one: &Waiting| pending.bodies.get(&one.event.request_id);
            let with = waiting.into_iter().map(|one| {
                let request = cached(&one);
                (one, request)
            });
            with.collect()
        };
        let mut broken = Vec::new();
        if due.iter().any(|(_, request)| request.is_none()) {
            let shared = Arc::clone(parts);
            let readers = &parts.readers.deliveries;
            (due, broken) = readers.ask(move |db| Ok(fetch(&shared, db, due))).await?;
        }
        if !broken.is_empty()
            && let Err(error) = self.give_up_on(broken, now).await
        {
            // The next look finds them again; the others are sent meanwhile.
            tracing::warn!(%error, "events that cannot be read back are not failed yet");
        }
        let whole = due.into_iter().filter_map(|(waiting, request)| {
            Some(DueEvent {
                event: waiting.event,
                request: request?,
            })
        });
        Ok(whole.collect())
    }

    pub(super) async fn find_request(
        &self,
        team_id: &str,
        id: &str,
    ) -> Result<Option<(RequestRecord, RequestCounts)>, StoreError> {
        let (team, id) = (team_id.to_owned(), id.to_owned());
        self.ask(move |db, parts| {
            let Some(found) = read::request(db, &team, &id)? else {
                return Ok(None);
            };
            match parts.load(found.place) {
                Ok(request) => Ok(Some((request, parts.counts(&found)))),
                Err(error) => error.of("request", &id).map_or(Ok(None), Err),
            }
        })
        .await
    }

    pub(super) async fn find_history(
        &self,
        team_id: &str,
        id: &str,
    ) -> Result<Option<RequestHistory>, StoreError> {
        let (team, id) = (team_id.to_owned(), id.to_owned());
        self.ask(move |db, parts| {
            // One transaction, so that the parts belong to one moment.
            let moment = db.unchecked_transaction().map_err(super::index::failed)?;
            let Some(found) = read::request(&moment, &team, &id)? else {
                return Ok(None);
            };
            let events = history::events_of(&moment, &id)?;
            let attempts = history::attempts_of(&moment, &id)?;
            let attempts_total = history::count_attempts_of(&moment, &id)?;
            let repeats = history::repeats_of(&moment, &id)?;
            let request = match parts.load(found.place) {
                Ok(request) => request,
                Err(error) => return error.of("request", &id).map_or(Ok(None), Err),
            };
            Ok(Some(RequestHistory {
                request,
                counts: parts.counts(&found),
                events,
                attempts: parts.attempts(attempts),
                attempts_total,
                repeats,
            }))
        })
        .await
    }

    pub(super) async fn list_requests(
        &self,
        query: RequestQuery,
        with_data: bool,
    ) -> Result<Vec<(RequestRecord, RequestCounts)>, StoreError> {
        self.ask(move |db, parts| {
            let read = |place: Place| {
                if with_data {
                    parts.load(place)
                } else {
                    parts.head(place.0)
                }
            };
            let deadline = Instant::now() + FILLING_UP;
            let (mut query, mut listed) = (query, Vec::new());
            loop {
                let mut left_out = 0;
                for found in pages::requests(db, &query)? {
                    match listable(db, &found, read)? {
                        Some(request) => listed.push((request, parts.counts(&found))),
                        None => left_out += 1,
                    }
                    query.before_id = Some(found.id);
                }
                if left_out == 0 {
                    return Ok(listed);
                }
                if Instant::now() > deadline {
                    return Err(StoreError::TooLong);
                }
                // A short page is the last one for who asked: others take the free places.
                query.limit = left_out;
            }
        })
        .await
    }

    pub(super) async fn show_requests(
        &self,
        query: RequestQuery,
        mut look: Look,
    ) -> Result<Option<String>, StoreError> {
        self.ask(move |db, parts| {
            let mut came_to = None;
            for found in pages::requests(db, &query)? {
                let request = listable(db, &found, |place| parts.load(place))?;
                let counts = parts.counts(&found);
                came_to = Some(found.id);
                if let Some(request) = request
                    && look(request, counts).is_break()
                {
                    break;
                }
            }
            Ok(came_to)
        })
        .await
    }

    pub(super) async fn find_attempt(
        &self,
        team_id: &str,
        id: &str,
    ) -> Result<Option<AttemptRecord>, StoreError> {
        let (team, id) = (team_id.to_owned(), id.to_owned());
        self.ask(move |db, parts| {
            let Some((_, position)) = read::attempt(db, &team, &id)? else {
                return Ok(None);
            };
            match parts.attempt_at(position) {
                Ok(attempt) => Ok(Some(attempt)),
                Err(error) => error.of("attempt", &id).map_or(Ok(None), Err),
            }
        })
        .await
    }

    pub(super) async fn list_attempts(
        &self,
        query: AttemptQuery,
    ) -> Result<Vec<AttemptRecord>, StoreError> {
        self.ask(move |db, parts| Ok(parts.attempts(pages::attempts(db, &query)?)))
            .await
    }

    pub(super) async fn list_reports(
        &self,
        after: u64,
        limit: u32,
    ) -> Result<Vec<SpooledReport>, StoreError> {
        let parts = Arc::clone(self.parts());
        let waiting: Vec<(u64, Position)> = {
            let inside = parts.doors.lock();
            let later = inside.spool.waiting.range(after.saturating_add(1)..);
            later
                .take(limit as usize)
                .map(|(sequence, at)| (*sequence, *at))
                .collect()
        };
        let read = tokio::task::spawn_blocking(move || {
            let mut reports = Vec::new();
            for (sequence, at) in waiting {
                let payload = match parts.report_at(at) {
                    Ok(payload) => payload,
                    // Moved between the look and the reading: the next question finds it.
                    Err(Unreadable::Moved) => break,
                    Err(Unreadable::Later(error)) => return Err(super::index::failed(error)),
                    Err(Unreadable::Broken(fault)) => {
                        tracing::error!(sequence, fault, "a report is lost");
                        Vec::new()
                    }
                };
                reports.push(SpooledReport { sequence, payload });
            }
            Ok(reports)
        });
        read.await.map_err(super::index::failed)?
    }
}

impl Parts {
    fn counts(&self, found: &Found) -> RequestCounts {
        let unwritten = self.doors.counted_of(&found.id);
        let mut counts = found.counts;
        counts.repeats = counts
            .repeats
            .saturating_add(u32::try_from(unwritten).unwrap_or(u32::MAX));
        counts
    }

    fn attempts(&self, found: Vec<(String, Position)>) -> Vec<AttemptRecord> {
        let mut attempts = Vec::new();
        for (id, position) in found {
            match self.attempt_at(position) {
                Ok(attempt) => attempts.push(attempt),
                Err(fault) => leave_out(&id, &fault),
            }
        }
        attempts
    }
}

type Due = Vec<(Waiting, Option<Arc<RequestRecord>>)>;
/// Event and why it cannot be read.
type Broken = Vec<(String, String)>;

/// Why a due event goes without its request this time.
enum Unfetched {
    Journal(Unreadable),
    Index(StoreError),
    /// The index knows the event and has no request to it: there never will be one.
    Orphan,
}

impl From<Unreadable> for Unfetched {
    fn from(fault: Unreadable) -> Self {
        Self::Journal(fault)
    }
}

/// Reads the requests that are not in memory.
fn fetch(parts: &Parts, db: &Connection, mut due: Due) -> (Due, Broken) {
    let mut broken = Vec::new();
    for (waiting, request) in &mut due {
        if request.is_some() {
            continue;
        }
        let id = &waiting.event.id;
        match fetch_one(parts, db, waiting) {
            Ok(found) => *request = Some(Arc::new(found)),
            Err(Unfetched::Journal(Unreadable::Broken(reason))) => {
                broken.push((id.clone(), reason));
            }
            Err(Unfetched::Orphan) => broken.push((id.clone(), ORPHAN.to_owned())),
            Err(Unfetched::Journal(fault)) => {
                tracing::warn!(event.id = id, ?fault, "an event waits for its request");
            }
            // The others may be found all the same, so that this answer is no error.
            Err(Unfetched::Index(error)) => {
                tracing::warn!(event.id = id, %error, "the index does not say where a request is");
                parts.end_if_broken(&error);
            }
        }
    }
    (due, broken)
}

fn fetch_one(
    parts: &Parts,
    db: &Connection,
    waiting: &Waiting,
) -> Result<RequestRecord, Unfetched> {
    if let Some(place) = waiting.place {
        match parts.load(place) {
            Err(Unreadable::Moved) => {}
            answer => return Ok(answer?),
        }
    }
    let place = read::place(db, &waiting.event.request_id).map_err(Unfetched::Index)?;
    match place {
        Some(place) => Ok(parts.load(place)?),
        None if is_orphan(db, waiting)? => Err(Unfetched::Orphan),
        None => Err(Unreadable::Moved.into()),
    }
}

/// Whether the index knows the event as pending and no request to it. Both come into it in one
/// transaction and leave it so; an event that it does not know yet waits for it.
fn is_orphan(db: &Connection, waiting: &Waiting) -> Result<bool, Unfetched> {
    let look = || {
        // One transaction, so that both are of one moment.
        let moment = db.unchecked_transaction().map_err(super::index::failed)?;
        if read::place(&moment, &waiting.event.request_id)?.is_some() {
            return Ok(false);
        }
        let event = read::any_event(&moment, &waiting.event.id)?;
        Ok(event.is_some_and(|event| is_pending(event.status)))
    };
    look().map_err(Unfetched::Index)
}

/// A request of a list, as `read` gives it; `None` when it is left out.
fn listable(
    db: &Connection,
    found: &Found,
    read: impl Fn(Place) -> Result<RequestRecord, Unreadable>,
) -> Result<Option<RequestRecord>, StoreError> {
    let mut request = read(found.place);
    if matches!(request, Err(Unreadable::Moved))
        && let Some(place) = read::place(db, &found.id)?
    {
        request = read(place);
    }
    match request {
        Ok(request) => Ok(Some(request)),
        Err(fault) => {
            leave_out(&found.id, &fault);
            Ok(None)
        }
    }
}

fn leave_out(id: &str, fault: &Unreadable) {
    tracing::warn!(id, ?fault, "a record is left out of a list");
}
