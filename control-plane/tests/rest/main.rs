//! REST against real tonic services, in process: no socket, no control plane.

mod api;
mod calls;
mod errors;
mod fuzz;
mod limits;
mod patches;
mod services;
mod streams;
