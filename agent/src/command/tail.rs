//! A live tail: the store's news, filtered to what was asked for.

use std::sync::Arc;

use hookplane_proto::v1::tail_requests_response::Item;
use hookplane_proto::v1::{
    self, AttemptEnded, RequestStored, TailGap, TailRequestsRequest, TailRequestsResponse,
};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::fault::Fault;
use super::held::Held;
use super::render::Share;
use super::{Desk, query, render};
use crate::config::CurrentConfiguration;
use crate::store::{EventRecord, EventStatus, RequestCounts, RequestRecord, StoreEvent};

/// News of one team, from the moment it was made.
pub(super) struct Tail {
    news: broadcast::Receiver<StoreEvent>,
    team_id: String,
    source_id: Option<String>,
    /// `None` for any, true for rejected ones.
    rejected: Option<bool>,
    event_type: Option<String>,
    agent_id: String,
    config: CurrentConfiguration,
}

impl Tail {
    pub(super) fn new(
        desk: &Desk,
        team_id: String,
        wanted: &TailRequestsRequest,
    ) -> Result<Self, Fault> {
        if !wanted.q.trim().is_empty() {
            // News carry neither headers nor bodies.
            let message = "`q`: a tail does not look into requests";
            return Err(Fault::invalid(message, "leave it out; lists take it"));
        }
        let source_id = (!wanted.source_id.is_empty()).then(|| wanted.source_id.clone());
        let event_type = (!wanted.event_type.is_empty()).then(|| wanted.event_type.clone());
        Ok(Self {
            event_type,
            rejected: query::rejected(wanted.status)?,
            news: desk.store.subscribe(),
            team_id,
            source_id,
            agent_id: desk.agent_id.clone(),
            config: Arc::clone(&desk.config),
        })
    }

    /// The next item; `None` when the store closed.
    pub(super) async fn next(&mut self) -> Option<TailRequestsResponse> {
        loop {
            let item = match self.news.recv().await {
                Ok(news) => self.item(&news),
                Err(RecvError::Lagged(skipped)) => Some(Item::Gap(TailGap { skipped })),
                Err(RecvError::Closed) => return None,
            };
            if item.is_some() {
                return Some(TailRequestsResponse { item });
            }
        }
    }

    fn item(&self, news: &StoreEvent) -> Option<Item> {
        match news {
            StoreEvent::Stored { request, events } => {
                let rejected = request.rejection.is_some();
                let wanted = self.wants(&request.team_id, &request.source_id, rejected)
                    && self.is_type(request.event_type.as_deref());
                wanted.then(|| Item::Stored(self.stored(request, events)))
            }
            StoreEvent::Completed { attempt, event } => {
                let wanted = self.wants(&attempt.team_id, &attempt.source_id, false)
                    && self.is_type(event.event_type.as_deref());
                wanted.then(|| {
                    Item::Attempt(AttemptEnded {
                        attempt: Some(render::attempt(attempt, Share::WithoutAnswer)),
                        event: Some(self.event(event)),
                    })
                })
            }
            StoreEvent::Requeued(_) => None,
        }
    }

    fn event(&self, event: &EventRecord) -> v1::Event {
        let held = Held::of(&self.config, &self.team_id);
        render::event(&held.marked(event.clone()))
    }

    fn is_type(&self, found: Option<&str>) -> bool {
        self.event_type
            .as_deref()
            .is_none_or(|wanted| found == Some(wanted))
    }

    fn wants(&self, team_id: &str, source_id: &str, rejected: bool) -> bool {
        self.team_id == team_id
            && self.source_id.as_deref().is_none_or(|id| id == source_id)
            && self.rejected.is_none_or(|wanted| wanted == rejected)
    }

    fn stored(&self, request: &RequestRecord, events: &[Arc<EventRecord>]) -> RequestStored {
        let ignored = events
            .iter()
            .filter(|event| event.status == EventStatus::Cancelled)
            .count();
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let counts = RequestCounts {
            events: number(events.len() - ignored),
            ignored: number(ignored),
            repeats: 0,
        };
        RequestStored {
            request: Some(render::request(request, counts, &self.agent_id, false)),
            events: events.iter().map(|event| self.event(event)).collect(),
        }
    }
}
