//! Senders that keep what they were told: each message is sent again until it is
//! acknowledged or the run ends, as a provider would.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hookplane_signature::sign;
use hookplane_tests::Source;
use hookplane_tests::sender::{message_id, now};
use http::Method;
use tokio_util::task::TaskTracker;

const SENDERS: usize = 12;
const PAUSE: Duration = Duration::from_millis(20);
const MAX_FILLING: u64 = 6_000;

/// What the senders were told.
#[derive(Default)]
pub(crate) struct Sent {
    /// Message ids answered with 2xx.
    pub(crate) acknowledged: BTreeSet<String>,
    /// Message ids that never were; they may or may not be stored.
    pub(crate) unanswered: BTreeSet<String>,
    pub(crate) refused_503: u64,
    /// Answers that no sender should see.
    pub(crate) strange: Vec<String>,
}

/// Running senders.
pub(crate) struct Load {
    shared: Arc<Shared>,
    tasks: TaskTracker,
}

struct Shared {
    source: Mutex<Source>,
    stop: AtomicBool,
    acknowledged: AtomicU64,
    sent: Mutex<Sent>,
}

impl Load {
    pub(crate) fn start(source: Source) -> Self {
        let shared = Arc::new(Shared {
            source: Mutex::new(source),
            stop: AtomicBool::new(false),
            acknowledged: AtomicU64::new(0),
            sent: Mutex::default(),
        });
        let tasks = TaskTracker::new();
        for _ in 0..SENDERS {
            tasks.spawn(send(Arc::clone(&shared)));
        }
        Self { shared, tasks }
    }

    /// The agent listens elsewhere after a restart.
    pub(crate) fn goes_to(&self, ingest: &str) {
        let mut source = self
            .shared
            .source
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *source = source.at(ingest);
    }

    pub(crate) fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::Relaxed)
    }

    pub(crate) async fn stop(&self) -> Sent {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.tasks.close();
        self.tasks.wait().await;
        std::mem::take(
            &mut self
                .shared
                .sent
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }
}

async fn send(shared: Arc<Shared>) {
    while !shared.stop.load(Ordering::Relaxed) {
        let id = message_id();
        let filling = "x".repeat(usize::try_from(rand::random_range(0..MAX_FILLING)).unwrap_or(0));
        let body = format!(r#"{{"type":"user.created","data":{{"id":"{id}","x":"{filling}"}}}}"#);
        let body = Bytes::from(body);
        loop {
            let answered = once(&shared, &id, body.clone()).await;
            if shared.note(&id, answered) || shared.stop.load(Ordering::Relaxed) {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl Shared {
    /// Keeps what the sender was told. True when the message is acknowledged.
    fn note(&self, id: &str, answered: Option<u16>) -> bool {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        if answered == Some(200) {
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
            sent.unanswered.remove(id);
            sent.acknowledged.insert(id.to_owned());
            return true;
        }
        match answered {
            Some(503) => sent.refused_503 += 1,
            Some(other) => sent.strange.push(format!("{id}: {other}")),
            None => {}
        }
        sent.unanswered.insert(id.to_owned());
        false
    }
}

async fn once(shared: &Shared, id: &str, body: Bytes) -> Option<u16> {
    let source = shared
        .source
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    let headers = sign(source.provider, &source.secret, id, now(), &body).expect("signed");
    let answer = source.try_post(Method::POST, "", &headers, body).await?;
    if answer.status == 200 && answer.json["request_id"].as_str().is_none() {
        return Some(299);
    }
    Some(answer.status.as_u16())
}
