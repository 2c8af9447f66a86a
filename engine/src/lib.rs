//! The engine of a Millstream node.

pub mod api;
pub mod cli;
pub mod client;
pub mod machine;
pub mod node;
pub mod shard;
