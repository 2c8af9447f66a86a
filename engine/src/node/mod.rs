//! A node: from a configuration to running shards and back.
//!
//! Leaves to others: the loop of a shard (`shard`), what is decided (`machine`, `storage::commit`).

mod banner;
pub mod checks;
pub mod config;
mod directory;
mod random;
mod refusal;
mod signals;
mod sockets;

pub use refusal::Refusal;
