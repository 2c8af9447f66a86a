//! A node: from a configuration to running shards and back.
//!
//! Leaves to others: the loop of a shard (`shard`), what is decided (`machine`, `storage::commit`).

mod banner;
pub mod checks;
pub mod config;
mod directory;
mod random;
mod refusal;
mod seeds;
mod signals;
mod sockets;
mod start;

pub(crate) use random::text_id as random_id;
pub use refusal::Refusal;
pub(crate) use signals::Signals;
pub use start::serve;
