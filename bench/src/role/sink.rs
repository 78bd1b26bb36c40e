//! The sink: takes every delivery, answers 200, and remembers which messages came.
//!
//! Owns one bit per message and path. `GET /seen` tells what came, as ranges of
//! numbers, so that whoever sent them can say what is missing. `PUT /hold` keeps
//! every delivery waiting until `PUT /release`. `GET /latency` tells how long
//! deliveries to path 0 took since they were due, and forgets them. `/hang`, `/fail`
//! and `/slow` are receivers that nobody wants.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::bare::{json, serve_with};
use super::load::Latency;
use super::{DUE, body, message, monotonic_micros};
use crate::fault::Fault;

/// Paths that can be told apart, `/0` to `/63`.
const PATHS: usize = 64;
/// Highest message number; 64 MiB of bits for one path.
const MOST: u64 = 1 << 29;
/// Latencies kept until they are asked for.
const MOST_LATENCIES: usize = 1 << 20;
/// A hundred times what a delivery over loopback takes.
const SLOW: Duration = Duration::from_millis(100);
/// Longer than any delivery waits.
const HANG: Duration = Duration::from_secs(600);

/// What came so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// Messages, each counted once per path.
    pub(crate) distinct: u64,
    /// The same message on the same path again.
    pub(crate) repeated: u64,
    /// Deliveries whose id is none of ours, or whose body is another message's.
    pub(crate) foreign: u64,
    /// Numbers that came, per path. Empty in a short answer.
    pub(crate) ranges: Vec<Vec<Range<u64>>>,
}

#[derive(Default)]
struct State {
    seen: Seen,
    bits: Vec<Vec<u64>>,
    micros: Vec<u32>,
}

pub(crate) async fn serve() -> Result<(), Fault> {
    let state = Arc::new(Mutex::new(State::default()));
    let held = watch::Sender::new(false);
    serve_with(move |request| take(request, Arc::clone(&state), held.clone())).await
}

async fn take(
    request: Request<Incoming>,
    state: Arc<Mutex<State>>,
    held: watch::Sender<bool>,
) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    if head.method == Method::PUT {
        held.send_replace(head.uri.path() == "/hold");
        return json(Bytes::from_static(b"{}"));
    }
    if head.method == Method::GET {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        if head.uri.path() == "/latency" {
            let latency = Latency::of(std::mem::take(&mut state.micros));
            return json(serde_json::to_vec(&latency).unwrap_or_default().into());
        }
        let told = state.tell(head.uri.path() == "/seen");
        return json(serde_json::to_vec(&told).unwrap_or_default().into());
    }
    let Ok(body) = body.collect().await else {
        return json(Bytes::new());
    };
    if let Some(answer) = misbehave(head.uri.path()).await {
        return answer;
    }
    // Fails only when the sender is gone, and this task holds one.
    held.subscribe().wait_for(|held| !held).await.ok();
    let path = head.uri.path().trim_start_matches('/').parse().ok();
    let id = head.headers.get("svix-id").map(|id| id.as_bytes());
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    state.took(path, id.unwrap_or_default(), &body.to_bytes());
    if path == Some(0) {
        state.measure(&head.headers);
    }
    json(Bytes::from_static(b"{}"))
}

/// What one of the bad receivers does; `None` for all others.
async fn misbehave(path: &str) -> Option<Response<Full<Bytes>>> {
    match path {
        "/hang" => tokio::time::sleep(HANG).await,
        "/slow" => tokio::time::sleep(SLOW).await,
        "/fail" => {}
        _ => return None,
    }
    let mut answer = json(Bytes::from_static(b"{}"));
    if path == "/fail" {
        *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    }
    Some(answer)
}

impl State {
    fn took(&mut self, path: Option<usize>, id: &[u8], bytes: &[u8]) {
        let number = message::number(id).filter(|number| *number < MOST);
        let (Some(path), Some(number), true) = (
            path.filter(|path| *path < PATHS),
            number,
            body::holds(bytes, id),
        ) else {
            self.seen.foreign += 1;
            return;
        };
        if self.bits.len() <= path {
            self.bits.resize(path + 1, Vec::new());
        }
        let (word, bit) = ((number / 64) as usize, 1 << (number % 64));
        let bits = &mut self.bits[path];
        if bits.len() <= word {
            bits.resize(word + 1, 0);
        }
        if bits[word] & bit == 0 {
            bits[word] |= bit;
            self.seen.distinct += 1;
        } else {
            self.seen.repeated += 1;
        }
    }

    fn measure(&mut self, headers: &HeaderMap) {
        let due = headers.get(DUE).and_then(|due| due.to_str().ok());
        if let Some(due) = due.and_then(|due| due.parse().ok())
            && self.micros.len() < MOST_LATENCIES
        {
            let took = monotonic_micros().saturating_sub(due);
            self.micros.push(u32::try_from(took).unwrap_or(u32::MAX));
        }
    }

    fn tell(&self, whole: bool) -> Seen {
        let mut seen = self.seen.clone();
        if whole {
            seen.ranges = self.bits.iter().map(|bits| ranges(bits)).collect();
        }
        seen
    }
}

fn ranges(bits: &[u64]) -> Vec<Range<u64>> {
    let mut found: Vec<Range<u64>> = Vec::new();
    let numbers = (0_u64..).zip(bits).flat_map(|(word, bits)| {
        (0..64)
            .filter(move |bit| bits & (1 << bit) != 0)
            .map(move |bit| word * 64 + bit)
    });
    for number in numbers {
        match found.last_mut() {
            Some(last) if last.end == number => last.end += 1,
            _ => found.push(number..number + 1),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deliver(state: &mut State, path: usize, number: u64) {
        let id = message::id(number);
        let mut bytes = body::build(256, &mut rand::rng());
        bytes[body::ID_AT..body::ID_AT + id.len()].copy_from_slice(id.as_bytes());
        state.took(Some(path), id.as_bytes(), &bytes);
    }

    #[test]
    fn what_came_is_told_as_ranges_per_path() {
        let mut state = State::default();
        for number in [5, 3, 4, 200, 4] {
            deliver(&mut state, 1, number);
        }
        deliver(&mut state, 0, 63);
        deliver(&mut state, 0, 64);
        let seen = state.tell(true);
        assert_eq!((seen.distinct, seen.repeated, seen.foreign), (6, 1, 0));
        assert_eq!(seen.ranges, vec![vec![63..65], vec![3..6, 200..201]]);
    }

    #[test]
    fn a_body_of_another_message_is_foreign() {
        let mut state = State::default();
        let bytes = body::build(256, &mut rand::rng());
        state.took(Some(0), message::id(9).as_bytes(), &bytes);
        assert_eq!(state.tell(true).foreign, 1);
        assert_eq!(state.tell(true).distinct, 0);
    }
}
