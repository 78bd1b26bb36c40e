//! Agents as the control plane remembers them.

use serde::{Deserialize, Serialize};

use super::Millis;
use super::violation::{self, Violation};

const HASH_LEN: usize = 64;

/// An enrolled agent, with what it said last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agent {
    pub id: String,
    /// Unique in the fleet.
    pub name: String,
    pub pool: String,
    /// Number of its store, from 1; part of every evidence id it makes.
    pub store: u32,
    pub version: String,
    pub created_at: Millis,
    /// Lineage, revision and digest of the configuration it acknowledged last.
    pub epoch: String,
    pub revision: u64,
    pub digest: String,
    pub refused: Vec<RefusedResource>,
    pub connected_at: Option<Millis>,
    pub last_seen_at: Option<Millis>,
    /// Events waiting in its store, as last reported.
    pub backlog: u64,
    /// What it said it can do beyond what every agent can.
    pub capabilities: Vec<String>,
    /// The replica that has its configuration stream, and its command stream.
    pub stream_replica: Option<String>,
    pub commands_replica: Option<String>,
    /// Since when it holds something else than it acknowledged.
    pub drifted_at: Option<Millis>,
    /// From then on nobody gets in with its credential.
    pub revoked_at: Option<Millis>,
    /// SHA-256 of the public key that its certificates are for, hex; `None` before the first.
    pub certificate_key: Option<String>,
    /// End of its newest certificate.
    pub certificate_expires_at: Option<Millis>,
}

/// A resource that an agent would not apply, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedResource {
    /// `source` or `destination`.
    pub kind: String,
    pub id: String,
    pub version: u64,
    /// Machine-readable.
    pub reason: String,
    pub message: String,
    /// The agent never saw it: it is known that it cannot use it.
    #[serde(default)]
    pub unsent: bool,
}

/// Every fault of what an agent says about itself when it enrols.
#[must_use]
pub fn faults(name: &str, pool: &str, credential_hash: &str) -> Vec<Violation> {
    let mut found = Vec::new();
    violation::name("name", name, &mut found);
    violation::slug("pool", pool, &mut found);
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if credential_hash.len() != HASH_LEN || !credential_hash.bytes().all(hex) {
        found.push(Violation::new(
            "credential_hash",
            "give the SHA-256 of the credential as 64 lower-case hex digits",
        ));
    }
    found
}
