//! Was everything that was acknowledged delivered? Waits for it, and says what is missing.

use std::collections::HashSet;
use std::ops::Range;
use std::time::{Duration, Instant};

use hookplane_tests::Api;

use super::rig::Rig;
use crate::fault::Fault;
use crate::results::Books;
use crate::role::sink::Seen;
use crate::say;

const STEP: Duration = Duration::from_millis(5);
/// Without any news for so long, what is missing counts as lost.
const STALLED: Duration = Duration::from_secs(45);

/// Waits until the sink has what it is owed, or nothing comes any more.
pub(super) async fn settled(rig: &Rig) -> Result<Books, Fault> {
    let sink = rig.sink_api();
    let (mut last, mut news) = (Seen::default(), Instant::now());
    loop {
        let seen = ask(&sink, "/count").await?;
        if seen != last {
            (last, news) = (seen, Instant::now());
        }
        let stalled = news.elapsed() > STALLED;
        if last.distinct >= rig.owed() || stalled {
            let seen = ask(&sink, "/seen").await?;
            let books = books(rig.sent(), rig.fan_out(), &rig.unacknowledged, &seen);
            if books.lost == 0 || stalled {
                if !books.balance() {
                    say::line(&format!("the books do not balance: {books:?}"));
                }
                return Ok(books);
            }
        }
        tokio::time::sleep(STEP).await;
    }
}

async fn ask(sink: &Api, path: &str) -> Result<Seen, Fault> {
    serde_json::from_value(sink.get(path).await).map_err(|error| Fault::json("the sink", error))
}

fn books(sent: u64, fan_out: u64, unacknowledged: &[u64], seen: &Seen) -> Books {
    let excused: HashSet<u64> = unacknowledged.iter().copied().collect();
    let owed = sent - excused.len() as u64;
    let none = Vec::new();
    let lost = (0..fan_out)
        .map(|path| {
            let came = usize::try_from(path)
                .ok()
                .and_then(|path| seen.ranges.get(path));
            missing(sent, &excused, came.unwrap_or(&none))
        })
        .sum();
    Books {
        owed: owed * fan_out,
        lost,
        repeated: seen.repeated,
        foreign: seen.foreign,
    }
}

/// Numbers below `sent` that are in no range and not excused.
fn missing(sent: u64, excused: &HashSet<u64>, came: &[Range<u64>]) -> u64 {
    let mut next = 0;
    let mut missing = 0;
    for range in came.iter().chain([&(sent..sent)]) {
        let gap = next..range.start.min(sent);
        missing += gap.filter(|number| !excused.contains(number)).count() as u64;
        next = next.max(range.end);
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(ranges: Vec<Vec<Range<u64>>>) -> Seen {
        Seen {
            ranges,
            ..Seen::default()
        }
    }

    #[test]
    fn what_was_acknowledged_and_never_came_is_lost() {
        let came = seen(vec![vec![0..3, 5..8]]);
        let books = books(10, 1, &[9], &came);
        assert_eq!((books.owed, books.lost), (9, 3));
        assert!(!books.balance());
    }

    #[test]
    fn what_was_not_acknowledged_may_come_or_not() {
        assert_eq!(
            books(10, 1, &[4, 9], &seen(vec![vec![0..4, 5..10]])).lost,
            0
        );
    }

    #[test]
    fn every_destination_is_owed_every_message() {
        let books = books(4, 3, &[], &seen(vec![vec![0..4], vec![1..4]]));
        assert_eq!((books.owed, books.lost), (12, 5));
    }
}
