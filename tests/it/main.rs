//! Promises kept by real processes over loopback.

mod access;
mod bulk;
mod certificates;
mod diagnosing;
mod fleet;
mod handlers;
mod main_path;
mod pausing;
mod providers;
mod recovery;
mod refusals;
mod replay;
mod rules;
mod shadow;
mod store;
mod story;
mod tool;
