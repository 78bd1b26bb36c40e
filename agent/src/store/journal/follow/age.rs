//! Retention by age: requests past it go, if nothing pending belongs to them.
//!
//! An order is worked off in slices between tables. The walk over old requests goes on where it
//! stopped, from one order to the next, so that a long backlog of old pending ones is not walked
//! for each slice; it begins anew when that costs a small part of the time only.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::super::index::upkeep;
use super::Follower;
use super::upkeep::Upkeep;
use crate::store::StoreError;

/// Requests that are looked at in one slice.
const LOOKED_AT: u32 = 1_000;
/// Requests that are deleted in one slice.
const SLICE: usize = 256;
/// Arrivals that are forgotten with one order.
const FORGOTTEN: u32 = 4_096;
/// A round may take one part in so many of the time.
const SHARE: u32 = 20;

/// An order under way.
pub(super) struct Retaining {
    before: u64,
    left: u64,
    gone: u64,
    /// The walk is at its end and the rest is done.
    ended: bool,
    reply: oneshot::Sender<Result<u64, StoreError>>,
}

/// Where the walk over old requests is.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    /// Id of the last one that was looked at.
    after: String,
    began: Instant,
    took: Duration,
    ended: bool,
}

impl Walk {
    pub(super) fn new() -> Self {
        Self {
            after: String::new(),
            began: Instant::now(),
            took: Duration::ZERO,
            ended: false,
        }
    }
}

impl Follower {
    pub(super) fn begin_retaining(
        &mut self,
        before: u64,
        now: u64,
        limit: u32,
        reply: oneshot::Sender<Result<u64, StoreError>>,
    ) {
        self.volume.now = self.volume.now.max(now);
        if self.retaining.is_some() {
            drop(reply.send(Err(StoreError::Busy)));
            return;
        }
        let walk = &mut self.volume.walk;
        if walk.ended && walk.began.elapsed() >= walk.took * SHARE {
            *walk = Walk::new();
        }
        self.retaining = Some(Retaining {
            before,
            left: limit.into(),
            gone: 0,
            ended: false,
            reply,
        });
    }

    /// One slice of the order. False when there is none or it is done.
    pub(super) fn retain_slice(&mut self) -> bool {
        let Some(order) = &self.retaining else {
            return false;
        };
        let (before, ended) = (order.before, order.ended);
        if order.left == 0 || ended {
            self.answer_retaining();
            return false;
        }
        let began = Instant::now();
        let after = self.volume.walk.after.clone();
        let rows = match upkeep::old_requests(&self.reader, &after, before, LOOKED_AT) {
            Ok(rows) => rows,
            Err(error) => {
                self.parts.end_if_broken(&error);
                let mut error = Some(error);
                self.refuse_retaining(|| error.take().unwrap_or(StoreError::Busy));
                return false;
            }
        };
        self.volume.walk.took += began.elapsed();
        let most = usize::try_from(order.left).map_or(SLICE, |left| left.min(SLICE));
        let whole = rows.len() < LOOKED_AT as usize;
        let (mut free, mut last, mut all) = (Vec::new(), None, true);
        for (id, is_free) in rows {
            if free.len() == most {
                all = false;
                break;
            }
            last = Some(id.clone());
            if is_free {
                free.push(id);
            }
        }
        if let Some(last) = last {
            self.volume.walk.after = last;
        }
        if all && whole {
            return self.end_walk(free, before);
        }
        if !free.is_empty() {
            self.delete(free);
        }
        true
    }

    /// The last slice: what is free goes first, then arrivals that are too old.
    fn end_walk(&mut self, free: Vec<String>, before: u64) -> bool {
        if !free.is_empty() && self.delete(free) {
            return true;
        }
        self.volume.walk.ended = true;
        if let Some(order) = &mut self.retaining {
            order.ended = true;
        }
        let running = self.begin(move |db| upkeep::forget_repeats(db, before, FORGOTTEN));
        self.upkeep = Some(Upkeep::Small(running));
        true
    }

    pub(super) fn retained(&mut self, gone: u64) {
        if let Some(order) = &mut self.retaining {
            order.gone += gone;
            order.left = order.left.saturating_sub(gone);
        }
    }

    fn answer_retaining(&mut self) {
        if let Some(order) = self.retaining.take() {
            self.volume.work = Some(order.before);
            // Who asked may have gone away.
            drop(order.reply.send(Ok(order.gone)));
        }
    }

    /// The order has to be given again.
    pub(super) fn refuse_retaining(&mut self, mut error: impl FnMut() -> StoreError) {
        if let Some(order) = self.retaining.take() {
            drop(order.reply.send(Err(error())));
        }
    }
}
