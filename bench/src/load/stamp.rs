//! What is written into records so that their readers know which they are.
//!
//! The value of a batch's first record begins with a stamp; those of the others with tag and index. Always: (1) the tag is
//! that of the run, so that records of other runs in the same topic are told apart; (2) the last four bytes of a stamp are
//! the raw CRC-32 of all that the stream of records has before them, so that the CRC-32 of what follows does not depend on the
//! stamp (a gzip trailer can then be made in advance).

/// Bytes of a stamp.
pub const STAMP_BYTES: usize = 32;
/// Bytes that identify the other records of a batch.
pub const INDEX_BYTES: usize = 8;
/// The due time of records whose latency does not count.
pub const UNTIMED: u64 = u64::MAX;

/// Which batch it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// The run.
    pub tag: u32,
    /// One connection's batches to one partition.
    pub stream: u32,
    /// The number of the batch in its stream, from 0.
    pub batch: u64,
    /// When its request was due, by the run's clock.
    pub due_ns: u64,
    /// How many records the batch has.
    pub records: u32,
}

impl Stamp {
    /// Writes it, but for the last four bytes.
    #[inline]
    pub fn write(&self, out: &mut [u8]) {
        out[..4].copy_from_slice(&self.tag.to_be_bytes());
        out[4..8].copy_from_slice(&self.stream.to_be_bytes());
        out[8..16].copy_from_slice(&self.batch.to_be_bytes());
        out[16..24].copy_from_slice(&self.due_ns.to_be_bytes());
        out[24..28].copy_from_slice(&self.records.to_be_bytes());
    }

    /// Reads the one that a value begins with, if it is of the run `tag`.
    pub fn read(tag: u32, value: &[u8]) -> Option<Stamp> {
        let stamp: &[u8; STAMP_BYTES] = value.first_chunk()?;
        let u32_at = |at: usize| u32::from_be_bytes([0, 1, 2, 3].map(|byte| stamp[at + byte]));
        let u64_at = |at: usize| u64::from(u32_at(at)) << 32 | u64::from(u32_at(at + 4));
        (u32_at(0) == tag).then(|| Stamp {
            tag,
            stream: u32_at(4),
            batch: u64_at(8),
            due_ns: u64_at(16),
            records: u32_at(24),
        })
    }
}

/// The bytes that identify the record at `index` above 0.
pub fn index_bytes(tag: u32, index: u32) -> [u8; INDEX_BYTES] {
    let mut bytes = [0; INDEX_BYTES];
    bytes[..4].copy_from_slice(&tag.to_be_bytes());
    bytes[4..].copy_from_slice(&index.to_be_bytes());
    bytes
}

/// Whether a value is that of the record at `index` above 0.
#[inline]
pub fn has_index(tag: u32, index: u32, value: &[u8]) -> bool {
    value.starts_with(&index_bytes(tag, index))
}
