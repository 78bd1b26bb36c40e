//! Free text over requests: method, path, query, headers and body.
//!
//! Nothing indexes payloads, so they are read, where the store blocks anyway. Invariants: a question
//! reads a bounded number of requests for a bounded time, keeps a bounded number of bytes, and says
//! where it stopped; what cannot be read hides nothing behind it.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use memchr::memmem::Finder;

use super::fault::Fault;
use super::{Desk, render};
use crate::clock::SharedClock;
use crate::store::{Headers, Look, RequestCounts, RequestQuery, RequestRecord};

const MAX_CHARACTERS: usize = 256;
/// Requests between two turns of the store.
const STEP: u32 = 16;
/// At most 2,000 requests are read for one answer.
const MAX_STEPS: usize = 125;
const MAX_MILLIS: u64 = 2_000;
/// Of a body; what stands behind it is not found.
const MAX_BODY: usize = 1_024 * 1_024;
/// Bytes of what was found, past which the page ends: an answer holds less.
const MAX_KEPT: usize = 4 * 1_024 * 1_024;
/// What a row needs beside its texts is guessed.
const BESIDE: usize = 512;

/// What is looked for, its ASCII in lower case.
#[derive(Clone, Debug)]
pub(super) struct Needle(Finder<'static>);

/// What was found, newest first.
pub(super) struct Found {
    pub(super) rows: Vec<(RequestRecord, RequestCounts)>,
    /// The last one that was come to, when there may be more behind it.
    pub(super) stopped_at: Option<String>,
}

impl Needle {
    /// `None` when nothing is looked for.
    pub(super) fn parse(text: &str) -> Result<Option<Self>, Fault> {
        let text = text.trim();
        if text.chars().count() > MAX_CHARACTERS {
            let message = format!("`q`: more than {MAX_CHARACTERS} characters");
            return Err(Fault::invalid(message, "look for less"));
        }
        let lower = text.to_ascii_lowercase();
        let finder = || Self(Finder::new(&lower).into_owned());
        Ok((!lower.is_empty()).then(finder))
    }

    fn is_in(&self, request: &RequestRecord) -> bool {
        let texts = [&request.id, &request.method, &request.path, &request.query];
        let known = [&request.message_id, &request.event_type];
        let body = request.body.get(..MAX_BODY).unwrap_or(&request.body);
        texts.iter().any(|text| self.within(text.as_bytes()))
            || known
                .into_iter()
                .flatten()
                .any(|text| self.within(text.as_bytes()))
            || request
                .headers
                .iter()
                .any(|(name, value)| self.within(name.as_bytes()) || self.within(value))
            || self.within(body)
    }

    /// ASCII in any case; what lies beyond as it is written.
    fn within(&self, hay: &[u8]) -> bool {
        hay.len() >= self.0.needle().len() && self.0.find(&hay.to_ascii_lowercase()).is_some()
    }
}

/// A search under way.
struct Scan {
    needle: Needle,
    with_data: bool,
    limit: usize,
    clock: SharedClock,
    until: u64,
    rows: Vec<(RequestRecord, RequestCounts)>,
    kept: usize,
}

impl Scan {
    fn see(&mut self, request: RequestRecord, counts: RequestCounts) -> ControlFlow<()> {
        if self.needle.is_in(&request) {
            let request = self.keepable(request);
            self.kept += size(&request);
            self.rows.push((request, counts));
        }
        if self.is_over() {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    /// Without what no answer shows.
    fn keepable(&self, mut request: RequestRecord) -> RequestRecord {
        if !self.with_data {
            request.headers = Headers::new();
            request.body = Bytes::new();
        } else if let Some(shown) = request.body.get(..render::MAX_BODY) {
            // A copy: a slice would keep the whole.
            request.body = Bytes::copy_from_slice(shown);
        }
        request
    }

    fn is_over(&self) -> bool {
        self.rows.len() >= self.limit
            || self.kept >= MAX_KEPT
            || self.clock.now_millis() > self.until
    }
}

fn size(request: &RequestRecord) -> usize {
    let headers = request.headers.iter();
    let headers: usize = headers.map(|(name, value)| name.len() + value.len()).sum();
    BESIDE + request.path.len() + request.query.len() + headers + request.body.len()
}

/// Reads from the newest on until there are enough, or as much was read as may be.
pub(super) async fn requests(
    desk: &Desk,
    mut asked: RequestQuery,
    needle: Needle,
    with_data: bool,
) -> Result<Found, Fault> {
    let turn = desk.searches.0.acquire().await;
    let _turn = turn.map_err(|_| Fault::unavailable("the agent is stopping"))?;
    let scan = Arc::new(Mutex::new(Scan {
        needle,
        with_data,
        limit: asked.limit as usize,
        clock: Arc::clone(&desk.clock),
        until: desk.clock.now_millis().saturating_add(MAX_MILLIS),
        rows: Vec::new(),
        kept: 0,
    }));
    asked.limit = STEP;
    let found = |stopped_at| {
        let rows = std::mem::take(&mut lock(&scan).rows);
        Ok(Found { rows, stopped_at })
    };
    for _ in 0..MAX_STEPS {
        let came_to = desk.store.look_through(asked.clone(), look(&scan));
        let Some(came_to) = came_to.await? else {
            return found(None);
        };
        asked.before_id = Some(came_to);
        if lock(&scan).is_over() {
            break;
        }
    }
    found(asked.before_id)
}

/// Ends when nobody waits for the search any more.
fn look(scan: &Arc<Mutex<Scan>>) -> Look {
    let scan = Arc::downgrade(scan);
    Box::new(move |request, counts| match scan.upgrade() {
        Some(scan) => lock(&scan).see(request, counts),
        None => ControlFlow::Break(()),
    })
}

fn lock(scan: &Mutex<Scan>) -> MutexGuard<'_, Scan> {
    scan.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
