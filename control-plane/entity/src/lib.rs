//! The control plane's tables as sea-orm entities, one per file.
//!
//! Owns column names and types. Refuses to know what the columns mean: `store`
//! converts rows to domain values. Times are Unix milliseconds in 64-bit
//! columns, because text times do not sort the same on every database.

pub mod agent;
pub mod agent_authority;
pub mod agent_token;
pub mod api_key;
pub mod audit_entry;
pub mod bulk_operation;
pub mod bulk_share;
pub mod connection;
pub mod connection_filter;
pub mod deleted_connection;
pub mod deletion;
pub mod destination;
pub mod destination_minute;
pub mod destination_standing;
pub mod filter;
pub mod handler_key;
pub mod handler_key_source;
pub mod installation;
pub mod lease;
pub mod remembered_answer;
pub mod replica;
pub mod report_cursor;
pub mod rollout;
pub mod rollout_image;
pub mod rollout_policy;
pub mod secret_use;
pub mod source;
pub mod source_minute;
pub mod team;
