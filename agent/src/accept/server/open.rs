//! Open connections: so many in all, and of each caller no more than leaves room for the rest.
//!
//! Shared by all listeners. Invariant: what a connection took is given back when it is dropped.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::ingest::Client;

/// Callers that have connections, so the map is bounded by the connections.
pub(in crate::accept) struct OpenConnections {
    places: Arc<Semaphore>,
    most_per_client: usize,
    open: Mutex<HashMap<Client, usize>>,
}

/// Room for one connection.
pub(super) struct Place {
    all: Arc<OpenConnections>,
    permit: OwnedSemaphorePermit,
}

/// One open connection, until it is dropped.
pub(super) struct Open {
    all: Arc<OpenConnections>,
    client: Client,
    _permit: OwnedSemaphorePermit,
}

impl OpenConnections {
    pub(in crate::accept) fn at_most(all: usize, per_client: usize) -> Arc<Self> {
        Arc::new(Self {
            places: Arc::new(Semaphore::new(all)),
            most_per_client: per_client,
            open: Mutex::default(),
        })
    }

    /// Waits for room. `None` would mean that there will never be any again.
    pub(super) async fn place(self: &Arc<Self>) -> Option<Place> {
        let permit = Arc::clone(&self.places).acquire_owned().await.ok()?;
        Some(Place {
            all: Arc::clone(self),
            permit,
        })
    }
}

impl Place {
    /// `None` when the caller has as many as it may.
    pub(super) fn open(self, address: IpAddr) -> Option<Open> {
        let Self { all, permit } = self;
        let client = Client::of(address);
        {
            let mut open = all.open.lock().unwrap_or_else(PoisonError::into_inner);
            let count = open.entry(client).or_insert(0);
            if *count >= all.most_per_client {
                if *count == 0 {
                    open.remove(&client);
                }
                return None;
            }
            *count += 1;
        }
        Some(Open {
            all,
            client,
            _permit: permit,
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
