//! Addresses for processes that come back to the one they had.
//!
//! The kernel takes local ports of outgoing connections, and of listeners on port 0, from one
//! range. An address from there may be taken by somebody else while its process is down.

use std::net::TcpListener;

use rand::Rng as _;

/// Ports below every usual range of ephemeral ports.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// A free loopback address outside that range.
///
/// # Panics
/// When there is none.
#[must_use]
pub(crate) fn lasting() -> String {
    let mut random = rand::rng();
    (0..1_000)
        .map(|_| format!("127.0.0.1:{}", random.random_range(PORTS)))
        .find(|address| TcpListener::bind(address).is_ok())
        .expect("a free port")
}
