//! The API for configuration, through a real server on loopback and real databases.

mod authorisation;
mod configuration;
mod connections;
mod delivery;
mod fuzz;
#[path = "../rest/inputs.rs"]
mod inputs;
mod plane;
mod postgres;
mod refusals;
mod secrets;
