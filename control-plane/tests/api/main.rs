//! The API for configuration, through a real server on loopback and real databases.

mod apply;
mod audit;
mod authorisation;
mod calls;
mod conditional;
mod configuration;
mod connections;
mod delivery;
mod filters;
mod fuzz;
mod handler_keys;
mod hostile;
mod http;
#[path = "../rest/inputs.rs"]
mod inputs;
mod keys;
mod metrics;
mod pausing;
mod plane;
mod postgres;
mod refusals;
mod secrets;
mod start;
mod teams;
mod watch;
