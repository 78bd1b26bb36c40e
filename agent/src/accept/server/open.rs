//! Open connections of each caller, with a cap, so that one caller leaves room for the rest.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::ingest::Client;

/// Callers that have connections, so the map is bounded by the connections.
pub(super) struct OpenConnections {
    most: usize,
    open: Mutex<HashMap<Client, usize>>,
}

/// One open connection, until it is dropped.
pub(super) struct Open {
    all: Arc<OpenConnections>,
    client: Client,
}

impl OpenConnections {
    pub(super) fn at_most(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            open: Mutex::default(),
        })
    }

    /// `None` when the caller has as many as it may.
    pub(super) fn open(self: &Arc<Self>, address: IpAddr) -> Option<Open> {
        let client = Client::of(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(client).or_insert(0);
        if *count >= self.most {
            if *count == 0 {
                open.remove(&client);
            }
            return None;
        }
        *count += 1;
        Some(Open {
            all: Arc::clone(self),
            client,
        })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut open = self.all.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.client);
            }
        }
    }
}
