//! Pools that a team's sources left lately: their agents have to let go, and the team
//! may wait for that although it has nothing there any more.
//!
//! Invariant: it holds no more than its bound; the oldest go. It is of this process:
//! at another replica a wait leaves such a pool out, and its answer says so.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

const MOST: usize = 4_096;

#[derive(Default)]
pub(super) struct LeftPools {
    known: Mutex<VecDeque<(String, String)>>,
}

impl LeftPools {
    pub(super) fn note(&self, team_id: &str, pools: impl Iterator<Item = String>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for pool in pools {
            let one = (team_id.to_owned(), pool);
            known.retain(|other| *other != one);
            known.push_back(one);
        }
        while known.len() > MOST {
            known.pop_front();
        }
    }

    pub(super) fn has(&self, team_id: &str, pool: &str) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .iter()
            .any(|(team, left)| team == team_id && left == pool)
    }
}
