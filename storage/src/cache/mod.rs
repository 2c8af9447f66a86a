//! The memory of a shard's log: chunks that are the exact image of a segment, and aligned buffers for everything else.
//!
//! Always: (1) bytes below a chunk's published end never change while anybody holds a slice of them; (2) unflushed bytes
//! are never evicted; (3) every address and capacity is a multiple of [`BLOCK_BYTES`](crate::disk::BLOCK_BYTES).
//! Leaves to others: which bytes are flushed when (`commit`), and what lies where in a log (`log`).

mod chunk;
mod log_chunks;
mod shard_cache;
mod slab;
#[cfg(test)]
mod tests;

pub use shard_cache::{Budgets, Cache, Missing};
pub use slab::{AlignedBuffer, SlabPool};
