//! The control plane: keeps configuration, streams it to agents, asks them for evidence.

pub mod rest;
