//! The books at the end: what was acknowledged, what was lost, what came twice.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hookplane_tests::{Receiver, System};
use serde_json::Value;

use crate::faults::Counts;
use crate::load::Sent;

/// A receiver that failed for long is tried again after up to five minutes and a fifth more.
const PATIENCE: Duration = Duration::from_secs(480);
const STEP: Duration = Duration::from_millis(200);

/// What a run came to.
pub(crate) struct Verdict {
    acknowledged: usize,
    unanswered: usize,
    refused_503: u64,
    faults: Counts,
    /// Acknowledged messages that a receiver never got, per receiver.
    lost: Vec<(usize, String)>,
    /// Deliveries beyond the first of a message, over both receivers.
    duplicated: usize,
    strange: Vec<String>,
    events: Value,
}

impl Verdict {
    pub(crate) fn is_good(&self) -> bool {
        self.lost.is_empty()
            && self.strange.is_empty()
            && self.books_balance()
            && self.acknowledged > 0
    }

    /// Everything was delivered, and nothing is left or failed. How many events there are says
    /// nothing: a small disk has given up the older ones.
    fn books_balance(&self) -> bool {
        let number = |name: &str| self.events[name].as_u64();
        let whole = self.events["partial"] == false && number("count").is_some_and(|n| n > 0);
        whole && number("count") == number("successful")
    }
}

/// Waits until everything acknowledged has arrived everywhere and nothing is pending.
pub(crate) async fn reach(
    system: &System,
    receivers: &[Receiver; 2],
    sent: &Sent,
    faults: Counts,
) -> Verdict {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let events = system.api().get("/v1/events/count").await;
        let verdict = look(receivers, sent, faults, events);
        if verdict.is_good() || tokio::time::Instant::now() > deadline {
            return verdict;
        }
        tokio::time::sleep(STEP).await;
    }
}

fn look(receivers: &[Receiver; 2], sent: &Sent, faults: Counts, events: Value) -> Verdict {
    let mut lost = Vec::new();
    let mut duplicated = 0;
    for (place, receiver) in receivers.iter().enumerate() {
        let mut got: BTreeMap<String, usize> = BTreeMap::new();
        for delivery in receiver.so_far() {
            let id = delivery.header("svix-id").unwrap_or_default().to_owned();
            *got.entry(id).or_default() += 1;
        }
        duplicated += got.values().map(|times| times - 1).sum::<usize>();
        let missing = sent.acknowledged.iter().filter(|id| !got.contains_key(*id));
        lost.extend(missing.map(|id| (place, id.clone())));
    }
    Verdict {
        acknowledged: sent.acknowledged.len(),
        unanswered: sent.unanswered.len(),
        refused_503: sent.refused_503,
        faults,
        lost,
        duplicated,
        strange: sent.strange.clone(),
        events,
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "faults: {}", self.faults)?;
        writeln!(
            f,
            "acknowledged {}, lost {}, duplicated {}, refused with 503 {}, never answered {}",
            self.acknowledged,
            self.lost.len(),
            self.duplicated,
            self.refused_503,
            self.unanswered
        )?;
        for (place, id) in self.lost.iter().take(10) {
            writeln!(f, "lost: {id} at receiver {place}")?;
        }
        for answer in self.strange.iter().take(10) {
            writeln!(f, "strange answer: {answer}")?;
        }
        write!(f, "events: {}", self.events)
    }
}
