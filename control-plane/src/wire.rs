//! Between wire messages and domain values, for the resources people configure.
//!
//! Owns which message field means what, and the defaults of fields not given.
//! Refuses to know what is admissible beyond shape: an unknown enum value is a
//! fault of the message, a bad name is the domain's to find.

pub mod agent_authority;
pub mod agent_token;
pub mod api_key;
pub mod audit;
pub mod bulk;
pub mod connection;
pub mod destination;
pub mod filter;
pub mod group;
pub mod handler_key;
pub mod mask;
pub mod plan;
pub mod source;
mod value;

use hookplane_proto::v1;
use prost_types::Timestamp;

use crate::domain::Millis;
use crate::store::Page;

/// Whether a message may carry secrets: only on the way to an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrets {
    Revealed,
    Redacted,
}

/// Unix milliseconds as a timestamp.
#[must_use]
pub fn timestamp(millis: Millis) -> Timestamp {
    let nanos = i32::try_from(millis.rem_euclid(1_000) * 1_000_000).unwrap_or(0);
    Timestamp {
        seconds: millis.div_euclid(1_000),
        nanos,
    }
}

/// A timestamp as Unix milliseconds.
#[must_use]
pub fn millis(timestamp: Timestamp) -> Millis {
    timestamp
        .seconds
        .saturating_mul(1_000)
        .saturating_add(i64::from(timestamp.nanos) / 1_000_000)
}

/// How a configuration list was cut.
#[must_use]
pub fn pagination<T>(page: &Page<T>) -> v1::Pagination {
    v1::Pagination {
        order_by: page.order_by.as_str().to_owned(),
        dir: if page.ascending { "asc" } else { "desc" }.to_owned(),
        limit: page.limit,
        next: page.next.clone().unwrap_or_default(),
    }
}
