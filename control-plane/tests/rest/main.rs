//! REST against real tonic services, in process: no socket, no control plane.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod api;
mod calls;
mod errors;
mod fuzz;
mod inputs;
mod limits;
mod openapi;
mod patches;
mod services;
mod streams;
