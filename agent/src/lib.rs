//! The agent: one data-plane process that receives, verifies, routes, stores
//! and delivers webhooks, with or without its control plane.
//!
//! The stages are modules, and each stage's output type is the key to the next.
//! Here so far: the configuration the stages work by, and the durable store.

pub mod clock;
pub mod config;
pub mod ids;
pub mod store;
