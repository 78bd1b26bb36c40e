//! JSON ⇄ protobuf messages, driven by descriptors.
//!
//! Owns the values: which JSON stands for which field kind, what an absent
//! field becomes, and what is said about a wrong one. Refuses to know single
//! resources: where FastHook's JSON has another shape, [`super::shape`] turns
//! it around before reading and after writing.
//!
//! Invariants: nothing a caller sends panics; a message that was read can be
//! decoded by every receiver (depth and numbers are checked here).

pub(crate) mod number;
pub(crate) mod parse;
pub(crate) mod read;
pub(crate) mod timestamp;
pub(crate) mod value;
pub(crate) mod write;
