//! The fleet over real connections: scripted agents on one side, callers on the other.

mod agent;
mod commands;
mod configuration;
mod enrolment;
mod evidence;
mod plane;
mod refusals;
mod reports;
mod tail;
