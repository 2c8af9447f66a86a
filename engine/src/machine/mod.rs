//! The pure machines of the engine: events in, effects out, time as an argument.
//!
//! Always: (1) a machine never blocks, reads no clock and touches no file or socket; (2) it sees headers and handles, never
//! payload; (3) it iterates only over ordered containers, so that equal inputs give equal effects.
//! Sibling machines do not know each other; the shard's core composes them.

pub mod config_kind;
pub mod controller;
pub mod fetch_sessions;
pub mod group;
pub mod image;
pub mod nearest;
pub mod partition;
pub mod producer_ids;
pub mod quorum;
pub mod topic_config;

/// BOUND: no topic has a longer name (rule M3); with `-PARTITION` it is a directory name elsewhere.
pub const TOPIC_NAME_BYTES_MAX: usize = 249;
