//! Free text over requests: method, path, query, headers and body, in any case.
//!
//! Nothing indexes payloads, so they are read. Invariant: a question reads a bounded
//! number of requests for a bounded time, and says where it stopped.

use super::Desk;
use super::fault::Fault;
use crate::store::{RequestCounts, RequestQuery, RequestRecord};

const MAX_CHARACTERS: usize = 256;
/// Requests read with their payloads for one answer.
const MAX_EXAMINED: usize = 2_000;
/// Read at once: a body may have 16 MiB.
const STEP: u32 = 16;
const MAX_MILLIS: u64 = 2_000;
/// Of a body; what stands behind it is not found.
const MAX_BODY: usize = 1_024 * 1_024;

/// What is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Needle(Vec<u8>);

/// What was found, newest first.
pub(super) struct Found {
    pub(super) rows: Vec<(RequestRecord, RequestCounts)>,
    /// The last one that was read, when there may be more behind it.
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
        let lower = text.to_lowercase().into_bytes();
        Ok((!lower.is_empty()).then_some(Self(lower)))
    }

    pub(super) fn is_in(&self, request: &RequestRecord) -> bool {
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
        let first = self.0[0];
        let mut from = 0;
        while let Some(found) = hay[from..]
            .iter()
            .position(|byte| byte.eq_ignore_ascii_case(&first))
        {
            let start = from + found;
            match hay.get(start..start + self.0.len()) {
                Some(part) if part.eq_ignore_ascii_case(&self.0) => return true,
                Some(_) => from = start + 1,
                None => return false,
            }
        }
        false
    }
}

/// Reads from the newest on until there are enough, or as much was read as may be.
pub(super) async fn requests(
    desk: &Desk,
    mut asked: RequestQuery,
    needle: &Needle,
) -> Result<Found, Fault> {
    let limit = asked.limit as usize;
    let until = desk.clock.now_millis().saturating_add(MAX_MILLIS);
    let (mut rows, mut examined) = (Vec::new(), 0);
    asked.limit = STEP;
    loop {
        let page = desk.store.requests(asked.clone(), true).await?;
        let last_page = page.len() < STEP as usize;
        for (request, counts) in page {
            examined += 1;
            asked.before_id = Some(request.id.clone());
            if needle.is_in(&request) {
                rows.push((request, counts));
            }
            if rows.len() == limit {
                let stopped_at = asked.before_id;
                return Ok(Found { rows, stopped_at });
            }
        }
        if last_page {
            let stopped_at = None;
            return Ok(Found { rows, stopped_at });
        }
        if examined >= MAX_EXAMINED || desk.clock.now_millis() > until {
            let stopped_at = asked.before_id;
            return Ok(Found { rows, stopped_at });
        }
    }
}
