//! The control plane: keeps configuration, streams it to agents, asks them for evidence.
//!
//! Owns sources, destinations, connections, keys, the fleet and its reports.
//! Refuses to know payloads: evidence stays with the agents and only passes
//! through on the way to whoever asked. Layers, each using only those after
//! it: `rest` → `grpc` → `fleet` → `wire` → `service` → `store` → `domain`.

pub mod auth;
pub mod clock;
pub mod domain;
pub mod fleet;
pub mod grpc;
pub mod keyfile;
pub mod lifecycle;
pub mod listener;
pub mod metrics;
pub mod rest;
pub mod secret_keys;
pub mod server;
pub mod service;
pub mod settings;
pub mod store;
pub mod wire;
