//! The Rust client of the control plane's gRPC API.
