//! One replica's layout: its segments, where in them an offset or a time lies, its epochs, and when segments come and go. Pure.
//!
//! Always: (1) segments lie in order and only the last one grows; (2) an index is a hint that a walk over batch headers makes exact: it
//! never points behind what is asked for; (3) everything here except bases, lengths and epochs can be derived again from the batches.
//! Leaves to others: durability (`commit`), the bytes (`cache`, `io`), and reading index files (`store`).

mod epochs;
mod index;
mod index_file;
mod layout;
mod life;
mod segment;
#[cfg(test)]
mod tests;

pub use epochs::Epochs;
pub use index::SegmentIndex;
pub use index_file::{
    Covered, INDEX_ENTRIES_MAX, INDEX_FILE_BYTES_MAX, IndexIdentity, IndexUnfit, decode_index,
    encode_offsets, encode_times,
};
pub use layout::{Layout, Located};
pub use life::{Retention, RetentionLimits, RollLimits};
pub use segment::Segment;
