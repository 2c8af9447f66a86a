//! The engine of a Millstream node.

pub mod cli;
pub mod node;
pub mod shard;
