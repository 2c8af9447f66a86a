//! What shards send to each other.
//!
//! Always: (1) mail carries handles and headers, never copies of payload; (2) from one shard to another it arrives first
//! in, first out.

/// One letter from one shard to another.
#[derive(Debug)]
pub enum Mail {}
