//! The agent: one data-plane process that receives, verifies, routes, stores
//! and delivers webhooks, with or without its control plane.
//!
//! The stages are modules, and each stage's output type is the key to the next:
//! `accept` runs `ingest`, `verify`, `route` and `store`; `deliver` takes it from
//! there. Beside them stand `control` (what to do), `command` (questions about the
//! evidence), `report` (what was done, in numbers) and `admin`. `agent` wires them.

pub mod accept;
mod admin;
pub mod agent;
pub mod causes;
pub mod chance;
pub mod clock;
mod command;
pub mod config;
mod control;
pub mod deliver;
mod files;
pub mod handles;
pub mod ids;
pub mod ingest;
mod link;
pub mod meter;
mod readiness;
mod report;
pub mod route;
pub mod settings;
pub mod store;
pub mod verify;
mod vitals;
