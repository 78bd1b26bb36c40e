//! Repeats on one connection: whose event has the key of an earlier one is none.
//!
//! Owns the question for each key and what becomes of the event. Refuses to know what keys are made
//! of. Invariants: of two events with one key that come at once only one is written as pending; the
//! claim on the message is taken first and then those on keys in their order, so that nobody waits in
//! a circle; behind an event that failed or was stopped nothing is a repeat.

use tokio::time::Instant;

use super::JournalStore;
use crate::store::journal::doors::Claim;
use crate::store::journal::entry::{Key, KeyEntry};
use crate::store::journal::index::read;
use crate::store::{EventRecord, EventStatus, IgnoredReason, NewRequest, StoreError};

impl JournalStore {
    /// Writes a request whose message is new, without the events that are repeats.
    pub(super) async fn write_branches(
        &self,
        mut new: NewRequest,
        message: Option<(Key, u64)>,
        claim: Option<Claim>,
        deadline: Instant,
    ) -> Result<(), StoreError> {
        let mut claims = Vec::from_iter(claim);
        let mut keys = Vec::new();
        let mut asked = std::mem::take(&mut new.branch_keys);
        asked.sort_unstable_by_key(|one| one.key);
        for one in asked {
            let Some(connection_id) = new.events.get(one.event).map(|event| &event.connection_id)
            else {
                continue;
            };
            let now = new.request.ingested_at;
            let (claim, recent) = self.claim(one.key, now, one.expires_at, deadline).await?;
            let earlier = match recent {
                None => None,
                Some(recent) => self.earlier(one.key, now, recent, connection_id).await?,
            };
            if let Some(earlier) = earlier {
                stop(&mut new.events[one.event], &earlier);
                continue;
            }
            if recent == Some(true) {
                self.parts()
                    .doors
                    .lock()
                    .filter
                    .insert(&one.key, one.expires_at);
            }
            claims.push(claim);
            keys.push(KeyEntry {
                key: one.key,
                request_id: new.request.id.clone(),
                expires_at: one.expires_at,
            });
        }
        self.write_request(new, message, keys, claims).await
    }

    /// The request whose event this one repeats.
    async fn earlier(
        &self,
        key: Key,
        now: u64,
        recent: bool,
        connection_id: &str,
    ) -> Result<Option<String>, StoreError> {
        let Some(request_id) = self.known(key, now, recent).await? else {
            return Ok(None);
        };
        // How the earlier one stands now.
        self.parts().indexed().await?;
        let (of, on) = (request_id.clone(), connection_id.to_owned());
        let readers = &self.parts().readers;
        let status = readers.arrivals.ask(move |db| read::branch(db, &of, &on));
        Ok(match status.await? {
            Some(EventStatus::Failed | EventStatus::Cancelled) => None,
            // What retention took was settled long ago.
            Some(_) | None => Some(request_id),
        })
    }
}

fn stop(event: &mut EventRecord, earlier: &str) {
    event.status = EventStatus::Cancelled;
    event.next_attempt_at = None;
    event.ignored_reason = Some(IgnoredReason::Duplicate);
    event.ignored_detail = Some(format!("the same as the event of {earlier}"));
}
