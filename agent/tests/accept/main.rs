//! Through a real listener and a real store: what senders are told, what is kept, and what
//! those who mean harm come to.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod answers;
mod bodies;
mod connections;
mod credentials;
mod crowding;
mod floods;
mod headers;
mod path;
mod slow_disk;
mod tls;
mod undecidable;
mod world;
mod writes;
