//! Schemas of what must evolve: metadata records, later peer frames. Generated from `fbs/` by `./generate`.
//!
//! Always: (1) generated code is committed and fresh (a test compares checksums, `tests/run` generates it anew); (2) a reader
//! verifies foreign bytes before it looks into them.
//! Leaves to others: what the tables mean.

// Generated: read through a verified buffer, never edited by hand.
#[rustfmt::skip]
#[allow(clippy::all, deprecated, missing_docs, unsafe_op_in_unsafe_fn, mismatched_lifetime_syntaxes, reason = "flatc writes it so")]
#[path = "generated/metadata.rs"]
mod metadata_generated;

#[cfg(test)]
mod tests;

/// Records, entries and snapshots of the metadata log.
pub use metadata_generated::millstream::metadata;
