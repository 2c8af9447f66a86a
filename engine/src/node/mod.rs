//! A node: from a configuration to running shards and back.
//!
//! Leaves to others: the loop of a shard (`shard`), what is decided (`machine`, `storage::commit`).

pub mod checks;
pub mod config;
