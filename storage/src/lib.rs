//! One shard's log: record batches, the commit journal, segments, chunks, and the disk they live on.
//!
//! Modules import only to the left: ids, prefetch, pieces < disk < batch < format < log < commit < recovery < cache < store < io.
//! `sim` (feature `sim`) is a simulated disk with crash semantics and may import everything left of `io`.

pub mod batch;
pub mod cache;
pub mod commit;
pub mod disk;
pub mod format;
pub mod ids;
pub mod io;
pub mod log;
mod pieces;
pub mod prefetch;
pub mod recovery;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
pub mod store;
