//! Requests ready for the wire: head, signature and body, built anew for each number.

use std::cell::RefCell;
use std::time::Instant;

use hookplane_signature::{Provider, sign};
use hookplane_tests::sender::now;

use super::Job;
use crate::fault::Fault;
use crate::role::body::{self, ID_AT};
use crate::role::message;
use crate::role::{DUE, monotonic_micros};

/// Bodies kept ready; requests take them in turn.
const POOL: usize = 256;
/// All of them together.
const POOL_BYTES: usize = 32 * 1_024 * 1_024;

/// Builds the requests of one job.
pub(super) struct Requests {
    secret: String,
    /// Request line and the headers that never change.
    head: String,
    pool: RefCell<Vec<Vec<u8>>>,
}

impl Requests {
    pub(super) fn new(job: &Job) -> Result<Self, Fault> {
        if job.body_size < body::SMALLEST {
            let smallest = body::SMALLEST;
            return Err(Fault::Load(format!("a body has {smallest} bytes at least")));
        }
        sign(Provider::Clerk, &job.secret, "msg_1", 0, b"")
            .map_err(|error| Fault::Load(error.to_string()))?;
        let count = POOL.min((POOL_BYTES / job.body_size).max(1));
        let mut randomness = rand::rng();
        let pool = (0..count).map(|_| body::build(job.body_size, &mut randomness));
        Ok(Self {
            secret: job.secret.clone(),
            head: format!(
                "POST {} HTTP/1.1\r\nhost: {}\r\nuser-agent: Svix-Webhooks/1.24\r\naccept: */*\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
                job.path, job.address, job.body_size
            ),
            pool: RefCell::new(pool.collect()),
        })
    }

    /// Writes one request; false when it could not be signed. `due` is for the sink, which tells
    /// from it how long the delivery took.
    pub(super) fn write(&self, number: u64, due: Option<Instant>, request: &mut Vec<u8>) -> bool {
        let id = message::id(number);
        let mut pool = self.pool.borrow_mut();
        let place = (number % pool.len() as u64) as usize;
        let body = &mut pool[place];
        request.clear();
        request.extend_from_slice(self.head.as_bytes());
        // The id has its place in the body, and the signature covers both.
        body[ID_AT..ID_AT + id.len()].copy_from_slice(id.as_bytes());
        let Ok(headers) = sign(Provider::Clerk, &self.secret, &id, now(), body) else {
            return false;
        };
        for (name, value) in &headers {
            for part in [name.as_str(), ": ", value.as_str(), "\r\n"] {
                request.extend_from_slice(part.as_bytes());
            }
        }
        if let Some(due) = due {
            let micros = monotonic_micros().saturating_sub(due.elapsed().as_micros() as u64);
            request.extend_from_slice(format!("{DUE}: {micros}\r\n").as_bytes());
        }
        request.extend_from_slice(b"\r\n");
        request.extend_from_slice(body);
        true
    }
}
