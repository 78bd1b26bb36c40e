//! Rules on a connection: which requests pass, which are repeats, when their events are first sent, and
//! when a failed delivery is tried again.
//!
//! Owns the filter language, the key of a repeat, the delay and the retry policy: parse, validate, evaluate; expressions
//! over a request, what is sent in its place, and how much of a body has to be read for all that.
//! Refuses to know clocks, randomness, stores and wire types: times and draws
//! are parameters, payloads are JSON values. The control plane validates with
//! the code that the agent evaluates with, so what one admits the other runs.
//!
//! Invariants: evaluation is total and bounded by the size limits checked when
//! a rule is compiled; the decision after an attempt is a pure function.

mod cel;
mod deduplicate;
mod delay;
mod filter;
mod input;
mod projection;
mod retry;
mod retry_after;
mod transform;
mod values;

pub use cel::MAX_LOOKED_INTO_BYTES;
pub use deduplicate::{Deduplicate, DeduplicateSpec, Hints, MAX_DEDUPLICATE_WINDOW_MS};
pub use delay::{Delay, DelaySpec, MAX_EVENT_DELAY_MS};
pub use filter::{Filter, FilterSpec, InvalidRule, MAX_FILTER_BYTES, Verdict};
pub use input::{Input, Looks};
pub use projection::Projection;
pub use retry::{Decision, DeliveryControl, History, Outcome, RetryPolicy, RetrySpec, Strategy};
pub use retry_after::parse_retry_after;
pub use transform::{MAX_TRANSFORMED_BODY, Transform, TransformSpec, Transformed};
pub use values::{headers_value, query_value};
