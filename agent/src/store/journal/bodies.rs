//! Recently accepted requests, whole, so that the deliverer does not read them from disk.
//!
//! First in, first out, within a budget of bytes. Nothing depends on it: what is not here is
//! read from the journal.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::store::RequestRecord;

/// Bytes kept; what a request needs beside its body and headers is guessed.
const BUDGET: usize = 24 << 20;
const BESIDE: usize = 1_024;

#[derive(Default)]
pub(super) struct Bodies {
    kept: HashMap<String, Arc<RequestRecord>>,
    order: VecDeque<(String, usize)>,
    bytes: usize,
}

impl Bodies {
    pub(super) fn insert(&mut self, request: Arc<RequestRecord>) {
        let headers = request.headers.iter();
        let headers: usize = headers.map(|(name, value)| name.len() + value.len()).sum();
        let bytes = BESIDE + headers + request.body.len();
        if bytes > BUDGET / 4 {
            return;
        }
        self.bytes += bytes;
        self.order.push_back((request.id.clone(), bytes));
        self.kept.insert(request.id.clone(), request);
        while self.bytes > BUDGET
            && let Some((id, bytes)) = self.order.pop_front()
        {
            self.kept.remove(&id);
            self.bytes -= bytes;
        }
    }

    pub(super) fn get(&self, request_id: &str) -> Option<Arc<RequestRecord>> {
        self.kept.get(request_id).cloned()
    }
}
