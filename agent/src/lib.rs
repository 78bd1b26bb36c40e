//! The agent: one data-plane process that receives, verifies, routes, stores
//! and delivers webhooks, with or without its control plane.
//!
//! The stages are modules, and each stage's output type is the key to the next.
//! Here so far: accepting (`accept` runs `ingest`, `verify`, `route`, `store`)
//! and `deliver`. Not yet: `control`, `report`, `admin`.

pub mod accept;
pub mod clock;
pub mod config;
pub mod deliver;
pub mod ids;
pub mod ingest;
pub mod route;
pub mod store;
pub mod verify;
