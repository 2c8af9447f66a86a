//! Record batches, version 2: what a producer sends is what the segment holds and what a consumer gets.
//!
//! Always: (1) nothing is allocated from a number that was not checked against the bytes at hand; (2) the payload of a batch is
//! never changed, only its header is stamped; (3) bytes that do not form a batch give an error, never a panic.
//! Leaves to others: which offsets a batch gets, and what a refusal becomes on the wire.
//! Source: the format is documented in Kafka's "Record Batch" and "Record" (KIP-98, KIP-82); rules R1 to R10 are those of
//! `net/PROTOCOL.md`.

mod builder;
mod codec;
mod find;
mod head;
#[cfg(test)]
mod oracle_tests;
mod records;
mod rewrite;
mod rules;
mod stamp;
#[cfg(test)]
mod tests;
mod varint;
mod walk;

pub use builder::{BatchBuilder, BatchHeader, ControlKind};
pub use codec::{Compression, DecompressError, compress, decompress};
pub use find::{Found, InHead, find_in_head, find_timestamp};
pub use head::{Attributes, BatchHead, HEADER_BYTES, Malformed, RECORDS_AT, check};
pub use records::{Header, Headers, OpenBatch, Record, Records};
pub use rewrite::rewritten;
pub use rules::{
    BatchRefusal, BatchRules, Keys, Timestamps, Zstd, is_laborious, validate, validate_within,
};
pub use stamp::{Stamp, stamp};
