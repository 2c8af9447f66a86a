//! The 61 bytes in front of every batch.
//!
//! Always: (1) a parsed head has magic 2 and a length of at least a header; (2) fields are as the bytes have them: whether they are lawful is
//! for `rules` to say.

use super::codec::Compression;
use crate::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

/// Bytes of a batch before its records.
pub const HEADER_BYTES: usize = 61;
/// Where the records begin.
pub const RECORDS_AT: usize = HEADER_BYTES;

pub(super) const LENGTH_AT: usize = 8;
pub(super) const EPOCH_AT: usize = 12;
pub(super) const MAGIC_AT: usize = 16;
pub(super) const CRC_AT: usize = 17;
/// The CRC covers everything from here to the end (R2).
pub(super) const ATTRIBUTES_AT: usize = 21;
pub(super) const MAX_TIMESTAMP_AT: usize = 35;
/// The length field counts what follows it.
pub(super) const LENGTH_END: usize = 12;
pub(super) const MAGIC: u8 = 2;

/// The attribute bits of a batch (R8).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Attributes(pub i16);

impl Attributes {
    pub(super) const CODEC: i16 = 7;
    pub(super) const LOG_APPEND_TIME: i16 = 1 << 3;
    pub(super) const TRANSACTIONAL: i16 = 1 << 4;
    pub(super) const CONTROL: i16 = 1 << 5;
    pub(super) const DELETE_HORIZON: i16 = 1 << 6;

    /// The codec of the records; `None` where the number stands for none.
    pub fn compression(self) -> Option<Compression> {
        Compression::from_number(self.0 & Self::CODEC)
    }

    /// Whether the maximum timestamp is the broker's clock and counts for every record.
    pub fn is_log_append_time(self) -> bool {
        self.0 & Self::LOG_APPEND_TIME != 0
    }

    /// Whether the batch is part of a transaction.
    pub fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    /// Whether it is a marker that the broker wrote.
    pub fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }

    /// Whether the base timestamp is the time from which on compaction may remove tombstones.
    pub fn has_delete_horizon(self) -> bool {
        self.0 & Self::DELETE_HORIZON != 0
    }
}

/// The parsed header of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchHead {
    /// The offset of the first record.
    pub base_offset: Offset,
    /// Bytes of the whole batch, header included.
    pub bytes: usize,
    /// The epoch of the leader that appended it.
    pub leader_epoch: LeaderEpoch,
    /// CRC-32C of everything from the attributes on.
    pub crc: u32,
    /// Codec and flags.
    pub attributes: Attributes,
    /// The last offset is so far behind the base offset.
    pub last_offset_delta: i32,
    /// Milliseconds; record timestamps are deltas to it.
    pub base_timestamp: i64,
    /// Milliseconds; the largest of the records, or the broker's clock (`is_log_append_time`). -1 where there is none.
    pub max_timestamp: i64,
    /// -1 where the producer is not idempotent.
    pub producer_id: ProducerId,
    /// The epoch of the producer id.
    pub producer_epoch: ProducerEpoch,
    /// The sequence number of the first record; -1 where there is none.
    pub base_sequence: i32,
    /// How many records are in it; fewer than offsets after compaction.
    pub record_count: i32,
}

/// Bytes that are no batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Malformed {
    /// They end before the header, or before the length that it states.
    Short,
    /// The stated length is smaller than a header.
    Length,
    /// Another format than version 2.
    Magic,
    /// The CRC is not that of the content.
    Crc,
    /// The records are not what the header says, for this reason.
    Records(&'static str),
    /// The records cannot be decompressed, or are larger than allowed.
    Compression(super::codec::DecompressError),
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Short => "a batch ends too early",
            Self::Length => "a batch states a length that is too small",
            Self::Magic => "a batch is of another format",
            Self::Crc => "the CRC of a batch is not that of its content",
            Self::Records(reason) => return write!(f, "a batch cannot be read: {reason}"),
            Self::Compression(super::codec::DecompressError::TooLarge) => {
                "a batch is too large when decompressed"
            }
            Self::Compression(super::codec::DecompressError::Corrupt) => {
                "a batch cannot be decompressed"
            }
        })
    }
}

impl BatchHead {
    /// Parses the first [`HEADER_BYTES`] of `bytes`; the records need not be there.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<BatchHead, Malformed> {
        let header: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(Malformed::Short)?;
        if header[MAGIC_AT] != MAGIC {
            return Err(Malformed::Magic);
        }
        let length = i32::from_be_bytes(part(header, LENGTH_AT));
        if length < (HEADER_BYTES - LENGTH_END) as i32 {
            return Err(Malformed::Length);
        }
        Ok(BatchHead {
            base_offset: Offset(i64::from_be_bytes(part(header, 0))),
            bytes: length as usize + LENGTH_END,
            leader_epoch: LeaderEpoch(i32::from_be_bytes(part(header, EPOCH_AT))),
            crc: u32::from_be_bytes(part(header, CRC_AT)),
            attributes: Attributes(i16::from_be_bytes(part(header, ATTRIBUTES_AT))),
            last_offset_delta: i32::from_be_bytes(part(header, 23)),
            base_timestamp: i64::from_be_bytes(part(header, 27)),
            max_timestamp: i64::from_be_bytes(part(header, MAX_TIMESTAMP_AT)),
            producer_id: ProducerId(i64::from_be_bytes(part(header, 43))),
            producer_epoch: ProducerEpoch(i16::from_be_bytes(part(header, 51))),
            base_sequence: i32::from_be_bytes(part(header, 53)),
            record_count: i32::from_be_bytes(part(header, 57)),
        })
    }

    /// Writes the header; the CRC as the field has it.
    pub fn write(&self, out: &mut [u8; HEADER_BYTES]) {
        let length = i32::try_from(self.bytes - LENGTH_END).expect("a batch is smaller than 2 GiB");
        out[..8].copy_from_slice(&self.base_offset.0.to_be_bytes());
        out[LENGTH_AT..12].copy_from_slice(&length.to_be_bytes());
        out[EPOCH_AT..16].copy_from_slice(&self.leader_epoch.0.to_be_bytes());
        out[MAGIC_AT] = MAGIC;
        out[CRC_AT..21].copy_from_slice(&self.crc.to_be_bytes());
        out[ATTRIBUTES_AT..23].copy_from_slice(&self.attributes.0.to_be_bytes());
        out[23..27].copy_from_slice(&self.last_offset_delta.to_be_bytes());
        out[27..35].copy_from_slice(&self.base_timestamp.to_be_bytes());
        out[MAX_TIMESTAMP_AT..43].copy_from_slice(&self.max_timestamp.to_be_bytes());
        out[43..51].copy_from_slice(&self.producer_id.0.to_be_bytes());
        out[51..53].copy_from_slice(&self.producer_epoch.0.to_be_bytes());
        out[53..57].copy_from_slice(&self.base_sequence.to_be_bytes());
        out[57..].copy_from_slice(&self.record_count.to_be_bytes());
    }

    /// The offset of its last record.
    pub fn last_offset(&self) -> Offset {
        Offset(
            self.base_offset
                .0
                .saturating_add(i64::from(self.last_offset_delta)),
        )
    }

    /// The offset behind its last record.
    pub fn end_offset(&self) -> Offset {
        Offset(self.last_offset().0.saturating_add(1))
    }

    /// Whether its producer is idempotent.
    pub fn has_producer(&self) -> bool {
        self.producer_id.0 >= 0
    }
}

/// Parses the batch that `bytes` begins with and verifies that it is whole: length, CRC, and offsets that do not run backwards. For
/// bytes from a disk or a peer; what a client sends goes through `validate`.
pub fn check(bytes: &[u8]) -> Result<BatchHead, Malformed> {
    let head = BatchHead::parse(bytes)?;
    let batch = bytes.get(..head.bytes).ok_or(Malformed::Short)?;
    if crc32c::crc32c(&batch[ATTRIBUTES_AT..]) != head.crc {
        return Err(Malformed::Crc);
    }
    if head.last_offset_delta < 0 || head.record_count < 0 {
        return Err(Malformed::Records("a count is negative"));
    }
    Ok(head)
}

#[inline]
fn part<const N: usize>(header: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    *header[at..]
        .first_chunk()
        .expect("every field ends inside the header")
}
