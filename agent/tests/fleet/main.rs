//! A real agent against a scripted control plane: what it takes over, what it
//! refuses, and what it does when the control plane is away.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod bounds;
mod configuration;
mod control_plane;
mod enrolment;
mod evidence;
mod life;
mod process;
mod receiver;
mod world;
