//! The wire contract: generated messages and services, their descriptors, and
//! the form of ids.
//!
//! Owns `hookplane.v1` (what people and programs call), `hookplane.agent.v1`
//! (what agents speak with the control plane) and the text form of ids.
//! Refuses to know what any of it means: no validation, no defaults, no
//! conversion into domain types. Generated types stay in this crate, in the
//! conversion modules of the two planes and in the client.
//!
//! Invariants: field numbers are never reused; the descriptor bytes are exactly
//! what was compiled, HTTP annotations included; messages that carry secrets
//! print no secret with `Debug`.

pub mod capability;
mod debug;
pub mod id;

use std::sync::LazyLock;

use prost_reflect::DescriptorPool;

/// The public API: configuration, evidence, fleet, keys.
pub mod v1 {
    #![expect(
        clippy::allow_attributes,
        clippy::large_enum_variant,
        reason = "generated"
    )]
    tonic::include_proto!("hookplane.v1");
}

/// What agents and the control plane say to each other.
pub mod agent {
    /// First version of the agent protocol.
    pub mod v1 {
        #![expect(
            clippy::allow_attributes,
            clippy::large_enum_variant,
            reason = "generated"
        )]
        tonic::include_proto!("hookplane.agent.v1");
    }
}

/// What replicas of the control plane ask each other.
pub mod replica {
    /// First version of the protocol between replicas.
    pub mod v1 {
        #![expect(
            clippy::allow_attributes,
            clippy::large_enum_variant,
            reason = "generated"
        )]
        tonic::include_proto!("hookplane.replica.v1");
    }
}

/// The compiled `FileDescriptorSet`, custom options included.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(DESCRIPTORS).expect("descriptors compiled by our own build script")
});

/// Every message and service of the contract, for walking at run time.
#[must_use]
pub fn descriptor_pool() -> DescriptorPool {
    POOL.clone()
}
