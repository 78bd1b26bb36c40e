//! The load generator: signed, numbered requests over keep-alive connections.
//!
//! Owns what a job is and what came of it. Closed loop: each connection sends
//! its next request when the last was answered. Open loop: requests are due at
//! fixed times, and their latency counts from then, so that an agent that
//! stalls cannot hide it. Invariants: nothing is sent twice; every load ends
//! by requests, bytes or time; a connection that fails is not opened again.

mod latency;
mod request;

use std::cell::{Cell, RefCell};
use std::io::Read as _;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::task::LocalSet;

use super::print;
use super::wire::Connection;
use crate::fault::Fault;
use crate::probe::process::Usage;
pub(crate) use latency::Latency;
use request::Requests;

/// Longest wait for one answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(30);

/// What to send.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) address: SocketAddr,
    pub(crate) path: String,
    pub(crate) secret: String,
    pub(crate) connections: u32,
    pub(crate) body_size: usize,
    /// Number of the first message.
    pub(crate) first: u64,
    pub(crate) limit: Limit,
    /// Requests per second; closed loop when `None`.
    pub(crate) rate: Option<f64>,
}

/// The first one reached ends the load.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Limit {
    pub(crate) requests: u64,
    pub(crate) bytes: u64,
    pub(crate) time: Duration,
}

/// What came of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) sent: u64,
    /// Numbers that were not answered 2xx: refused, or cut off.
    pub(crate) unacknowledged: Vec<u64>,
    /// Of those, answered otherwise.
    pub(crate) refused: u64,
    /// Bytes of all requests, heads included.
    pub(crate) wire_bytes: u64,
    pub(crate) seconds: f64,
    pub(crate) cpu_micros: u64,
    /// Of acknowledged requests.
    pub(crate) latency: Latency,
    /// How late the generator itself was, in an open loop.
    pub(crate) lateness: Latency,
}

impl Outcome {
    pub(crate) fn acknowledged(&self) -> u64 {
        self.sent - self.unacknowledged.len() as u64
    }
}

struct Shared {
    job: Job,
    requests: Requests,
    began: Instant,
    sent: Cell<u64>,
    bytes: Cell<u64>,
    refused: Cell<u64>,
    unacknowledged: RefCell<Vec<u64>>,
    micros: RefCell<Vec<u32>>,
    late: RefCell<Vec<u32>>,
    due: Arc<Semaphore>,
}

/// The role: a job on standard input, its outcome on standard output.
pub(crate) async fn from_input() -> Result<(), Fault> {
    let mut text = Vec::new();
    // Nothing else runs yet that a blocking read could keep waiting.
    std::io::stdin()
        .read_to_end(&mut text)
        .map_err(|error| Fault::io("standard input", error))?;
    let job = serde_json::from_slice(&text).map_err(|error| Fault::json("the job", error))?;
    print(&run(job).await?)
}

/// Does a job in this process.
pub(crate) async fn run(job: Job) -> Result<Outcome, Fault> {
    let requests = Requests::new(&job)?;
    let mut open = Vec::new();
    for _ in 0..job.connections {
        // One that cannot be made sends nothing; a load without any reports nothing sent.
        open.extend(Connection::open(job.address).await.ok());
    }
    let shared = Rc::new(Shared {
        requests,
        began: Instant::now(),
        sent: Cell::new(0),
        bytes: Cell::new(0),
        refused: Cell::new(0),
        unacknowledged: RefCell::default(),
        micros: RefCell::default(),
        late: RefCell::default(),
        due: Arc::new(Semaphore::new(0)),
        job,
    });
    let tasks = LocalSet::new();
    for connection in open {
        tasks.spawn_local(Rc::clone(&shared).drive(connection));
    }
    if let Some(rate) = shared.job.rate {
        let (due, limit, began) = (Arc::clone(&shared.due), shared.job.limit, shared.began);
        std::thread::spawn(move || pace(&due, rate, limit, began));
    }
    tasks.await;
    Ok(shared.outcome())
}

impl Shared {
    async fn drive(self: Rc<Self>, mut connection: Connection) {
        let mut request = Vec::new();
        while let Some((number, since)) = self.next().await {
            let due = self.job.rate.map(|_| since);
            let signed = self.requests.write(number, due, &mut request);
            self.bytes.set(self.bytes.get() + request.len() as u64);
            let exchange = connection.exchange(&request);
            let answered = tokio::time::timeout(ANSWER_DEADLINE, exchange).await;
            match answered {
                Ok(Ok(status)) if signed && (200..300).contains(&status) => {
                    let took = since.elapsed().as_micros();
                    let micros = u32::try_from(took).unwrap_or(u32::MAX);
                    self.micros.borrow_mut().push(micros);
                }
                Ok(Ok(_)) => {
                    self.refused.set(self.refused.get() + 1);
                    self.unacknowledged.borrow_mut().push(number);
                }
                Ok(Err(_)) | Err(_) => {
                    self.unacknowledged.borrow_mut().push(number);
                    return;
                }
            }
        }
    }

    /// The number of the next request and the time its latency counts from.
    async fn next(&self) -> Option<(u64, Instant)> {
        if let Some(rate) = self.job.rate {
            // Closed when the time is over.
            self.due.acquire().await.ok()?.forget();
            let place = self.take()?;
            let due = self.began + Duration::from_secs_f64(place as f64 / rate);
            let late = u32::try_from(due.elapsed().as_micros()).unwrap_or(u32::MAX);
            self.late.borrow_mut().push(late);
            return Some((self.job.first + place, due));
        }
        let now = Instant::now();
        // On a busy machine a short time may be over before the first.
        if self.sent.get() > 0 && now - self.began >= self.job.limit.time {
            return None;
        }
        Some((self.job.first + self.take()?, now))
    }

    fn take(&self) -> Option<u64> {
        let place = self.sent.get();
        let limit = &self.job.limit;
        if place >= limit.requests || self.bytes.get() >= limit.bytes {
            return None;
        }
        self.sent.set(place + 1);
        Some(place)
    }

    fn outcome(&self) -> Outcome {
        Outcome {
            sent: self.sent.get(),
            unacknowledged: self.unacknowledged.take(),
            refused: self.refused.get(),
            wire_bytes: self.bytes.get(),
            seconds: self.began.elapsed().as_secs_f64(),
            cpu_micros: Usage::of_this_process().map_or(0, |usage| usage.cpu_micros),
            latency: Latency::of(self.micros.take()),
            lateness: Latency::of(self.late.take()),
        }
    }
}

/// Releases requests when they are due. The timer of the runtime counts in
/// milliseconds, which is longer than a flush; a sleeping thread is finer.
fn pace(places: &Semaphore, rate: f64, limit: Limit, began: Instant) {
    let most = ((limit.time.as_secs_f64() * rate) as u64).min(limit.requests);
    let mut released = 0;
    while released < most {
        let due = ((began.elapsed().as_secs_f64() * rate) as u64 + 1).min(most);
        places.add_permits(usize::try_from(due - released).unwrap_or(0));
        released = due;
        let next = began + Duration::from_secs_f64(released as f64 / rate);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    // An agent that cannot keep up gets as long again, and then the rest is dropped.
    while places.available_permits() > 0 && began.elapsed() < limit.time * 2 {
        std::thread::sleep(Duration::from_millis(1));
    }
    places.close();
}
