//! The guarantees that every run must keep, each a function with its number.
//!
//! They judge what was seen outside (senders, receivers, faults) against what the store says.
//! Invariant: a judge excuses only what a fault at that time and place explains.

mod books;
mod deliveries;
mod excuses;
mod messages;
mod stored;

use std::fmt;

use hookplane_agent::store::journal::JournalStore;
use hookplane_agent::store::{
    EventQuery, EventRecord, EventTotals, RequestHistory, RequestQuery, RequestTotals, Store as _,
};

use crate::configuration::TEAM;
use crate::control_plane::Sums;
use crate::history::{At, BEGINNING, Fact};
use crate::plan::Plan;
use crate::store::blocking;
use excuses::Excuses;

pub(crate) use stored::g1_acknowledged_is_stored;

const PAGE: u32 = 255;

/// A guarantee that was not kept.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) invariant: &'static str,
    pub(crate) what: String,
}

type Verdict = Result<(), Violation>;

/// Everything known at the end of a run.
pub(crate) struct Evidence {
    facts: Vec<(At, Fact)>,
    excuses: Excuses,
    /// Of every request, refused ones included.
    histories: Vec<RequestHistory>,
    requests: RequestTotals,
    events: EventTotals,
    imbalance: u64,
    reported: Sums,
    /// What no correct agent says to its control plane.
    broken: Vec<String>,
    /// Message ids whose sender could not sign.
    forged: Vec<String>,
}

/// Every guarantee, at the end of a run.
pub(crate) fn all(evidence: &Evidence, store: &JournalStore) -> Vec<Violation> {
    let verdicts = [
        g1_acknowledged_is_stored(&evidence.facts, store),
        stored::g2_every_event_ends_and_is_delivered(evidence),
        deliveries::g3_duplicates_only_where_the_outcome_was_unknown(evidence),
        messages::g4_one_message_makes_one_request(evidence),
        messages::g4_a_resend_heals_exactly_the_failed_branches(evidence),
        books::g8_the_books_balance(evidence),
        deliveries::g11_nobody_waits_for_a_bad_destination(evidence),
    ];
    verdicts.into_iter().filter_map(Result::err).collect()
}

/// What must still be there after a power cut at rest.
pub(crate) fn after_the_end(evidence: &Evidence, store: &JournalStore) -> Vec<Violation> {
    let verdicts = [
        g1_acknowledged_is_stored(&evidence.facts, store),
        stored::g1_what_was_at_rest_is_still_so(evidence, store),
    ];
    verdicts.into_iter().filter_map(Result::err).collect()
}

impl Evidence {
    pub(crate) fn gather(
        facts: Vec<(At, Fact)>,
        plan: &Plan,
        store: &JournalStore,
        reported: Sums,
        broken: Vec<String>,
    ) -> Self {
        let query = RequestQuery {
            team_id: TEAM.to_owned(),
            limit: PAGE,
            ..RequestQuery::default()
        };
        let requests = blocking(store.requests(query.clone(), false)).expect("a list");
        let history = |id: &str| {
            let found = blocking(store.history(TEAM, id)).expect("an answer");
            found.expect("a request that is listed")
        };
        Self {
            excuses: Excuses::of(&facts),
            histories: requests.iter().map(|(one, _)| history(&one.id)).collect(),
            requests: blocking(store.count_requests(query)).expect("a count"),
            events: count_events(store),
            imbalance: blocking(store.imbalance()).expect("a count"),
            reported,
            broken,
            forged: plan.forged(),
            facts,
        }
    }

    fn accepted(&self) -> impl Iterator<Item = &RequestHistory> {
        let all = self.histories.iter();
        all.filter(|history| history.request.rejection.is_none())
    }

    fn events(&self) -> impl Iterator<Item = &EventRecord> {
        self.histories.iter().flat_map(|history| &history.events)
    }
}

fn count_events(store: &JournalStore) -> EventTotals {
    let query = EventQuery {
        team_id: TEAM.to_owned(),
        limit: PAGE,
        ..EventQuery::default()
    };
    blocking(store.count_events(query)).expect("a count")
}

/// Milliseconds of the run at this time of the wall clock.
fn of_run(millis: u64) -> At {
    millis.saturating_sub(BEGINNING)
}

fn broken(invariant: &'static str, what: impl Into<String>) -> Verdict {
    Err(Violation {
        invariant,
        what: what.into(),
    })
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}
