//! The fleet over real connections: scripted agents on one side, callers on the other.

mod access;
mod agent;
mod certificates;
mod commands;
mod configuration;
mod enrolment;
mod evidence;
mod on_postgres;
mod plane;
#[path = "../api/postgres.rs"]
mod postgres;
mod recorded;
mod refusals;
mod replicas;
mod reports;
mod restore;
mod returns;
mod rollouts;
mod router;
mod secure;
mod skew;
mod stampede;
mod tail;
mod waiting;
