//! What the control plane tells the agent to do: identity, configuration, disk copy.
//!
//! Owns enrolment, the agent's certificate, the configuration stream, the conversion of wire resources
//! into `config` and the last good configuration on disk. Refuses to know the
//! stages that use it. Invariants: a source with its connections and secrets
//! applies whole or stays as it was; what is acknowledged is on disk and in
//! force; within an epoch an older revision never replaces a newer one.

pub(crate) mod certify;
pub(crate) mod convert;
mod disk;
pub(crate) mod enrol;
pub(crate) mod holder;
pub(crate) mod identity;
mod ledger;
pub(crate) mod papers;
pub(crate) mod stream;
