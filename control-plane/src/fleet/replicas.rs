//! The control planes that share the database: which live, and which of them leads.
//!
//! Background work is done by the leader. The others notice within seconds when
//! it is gone. Nothing that streams do waits for any of this.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::clock::SharedClock;
use crate::store::replicas::{Lease, Replica};
use crate::store::{ReplicaStore, StoreError};

/// The lease of whoever does the background work.
const LEADER: &str = "leader";

/// Shared by everything that asks where an agent is.
pub(super) struct Replicas {
    store: ReplicaStore,
    me: Replica,
    timings: Pace,
    leads: AtomicBool,
    seen: Mutex<Seen>,
}

/// How often a replica says that it lives, and for how long silence means nothing.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub beat: Duration,
    pub dead_after: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            beat: Duration::from_secs(2),
            dead_after: Duration::from_secs(8),
        }
    }
}

#[derive(Default)]
struct Seen {
    others: HashMap<String, Other>,
    lease: Option<(Lease, Instant)>,
    kept_at: Option<Instant>,
}

struct Other {
    replica: Replica,
    moved_at: Instant,
}

impl Replicas {
    pub(super) fn new(store: ReplicaStore, url: String, timings: Pace) -> Arc<Self> {
        let me = Replica {
            id: format!("rpl_{}", hex::encode(rand::random::<[u8; 10]>())),
            url,
            token: hex::encode(rand::random::<[u8; 32]>()),
            beat: 0,
        };
        Arc::new(Self {
            store,
            me,
            timings,
            leads: AtomicBool::new(false),
            seen: Mutex::default(),
        })
    }

    pub(super) fn own_id(&self) -> &str {
        &self.me.id
    }

    /// What others show to this one.
    pub(super) fn own_token(&self) -> &str {
        &self.me.token
    }

    /// Whether this one does the background work.
    pub(super) fn leads(&self) -> bool {
        let kept = self.seen().kept_at;
        // Who cannot renew must not go on for longer than the others wait.
        let fresh = kept.is_some_and(|at| at.elapsed() < self.timings.dead_after / 2);
        self.leads.load(Ordering::Relaxed) && fresh
    }

    /// Another replica, as long as it lives.
    pub(super) fn other(&self, id: &str) -> Option<Replica> {
        let seen = self.seen();
        let other = seen.others.get(id)?;
        self.lives(other).then(|| other.replica.clone())
    }

    /// The others that live.
    pub(super) fn others(&self) -> Vec<Replica> {
        let seen = self.seen();
        let living = seen.others.values().filter(|other| self.lives(other));
        living.map(|other| other.replica.clone()).collect()
    }

    fn lives(&self, other: &Other) -> bool {
        other.moved_at.elapsed() < self.timings.dead_after
    }

    /// Says that this one lives and looks at the others, until `shutdown`.
    pub(super) async fn run(&self, clock: &SharedClock, shutdown: &CancellationToken) {
        let mut beat = interval(self.timings.beat);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut number = 0;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                _ = beat.tick() => number += 1,
            }
            if let Err(error) = self.step(number, clock.now_millis()).await {
                tracing::warn!(error = %error, "the other replicas were not looked at");
            }
        }
        let left = async {
            self.store.release(LEADER, &self.me.id).await?;
            self.store.forget(&self.me.id).await
        };
        if let Err(error) = left.await {
            tracing::debug!(error = %error, "the others were not told that this one leaves");
        }
    }

    async fn step(&self, number: i64, now: i64) -> Result<(), StoreError> {
        let me = Replica {
            beat: number,
            ..self.me.clone()
        };
        if number == 1 {
            self.follow_predecessors().await?;
        }
        // First: whatever else fails here, somebody has to do the background work.
        self.keep_lease().await?;
        self.store.beat(&me, now).await?;
        let dead = self.look_at(self.store.all().await?);
        if self.leads() {
            for id in dead {
                tracing::info!(replica = %id, "a replica is gone");
                self.store.forget(&id).await?;
            }
        }
        Ok(())
    }

    /// Forgets those that this one comes in the place of: they were killed, and nobody
    /// has to wait until that is noticed.
    async fn follow_predecessors(&self) -> Result<(), StoreError> {
        let same_place = |url: &str| !url.is_empty() && url == self.me.url;
        for other in self.store.all().await? {
            if self.store.is_alone() || same_place(&other.url) {
                self.store.release(LEADER, &other.id).await?;
                self.store.forget(&other.id).await?;
            }
        }
        Ok(())
    }

    /// Notes whose beat moved; gives those whose has not for too long.
    fn look_at(&self, all: Vec<Replica>) -> Vec<String> {
        let mut seen = self.seen();
        let now = Instant::now();
        let mut others = HashMap::new();
        for replica in all.into_iter().filter(|replica| replica.id != self.me.id) {
            let known = seen.others.remove(&replica.id);
            let still = known.filter(|known| known.replica.beat == replica.beat);
            let moved_at = still.map_or(now, |known| known.moved_at);
            others.insert(replica.id.clone(), Other { replica, moved_at });
        }
        seen.others = others;
        let dead = seen.others.iter().filter(|(_, other)| !self.lives(other));
        dead.map(|(id, _)| id.clone()).collect()
    }

    async fn keep_lease(&self) -> Result<(), StoreError> {
        let asked = Instant::now();
        let lease = self.store.lease(LEADER).await?;
        if !self.may_take(lease.as_ref()) {
            self.leads.store(false, Ordering::Relaxed);
            return Ok(());
        }
        let taken = self.store.take(LEADER, &self.me.id, lease.as_ref()).await?;
        if taken && !self.leads.swap(true, Ordering::Relaxed) {
            tracing::info!(replica = %self.me.id, "this replica does the background work");
        }
        if taken {
            self.seen().kept_at = Some(asked);
        } else {
            self.leads.store(false, Ordering::Relaxed);
        }
        Ok(())
    }

    /// One's own, one that nobody has, or one whose holder has not renewed it for too long.
    fn may_take(&self, lease: Option<&Lease>) -> bool {
        let mut seen = self.seen();
        let Some(lease) = lease else { return true };
        if lease.holder == self.me.id {
            return true;
        }
        let now = Instant::now();
        match &seen.lease {
            Some((known, since)) if known == lease => {
                now.duration_since(*since) >= self.timings.dead_after
            }
            _ => {
                seen.lease = Some((lease.clone(), now));
                false
            }
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // Nothing panics under this lock, and what it guards stays whole if it did.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
