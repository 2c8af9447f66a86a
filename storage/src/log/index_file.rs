//! The files `OFFSET.index` and `OFFSET.time`: derivable, so whatever does not fit is built again.
//!
//! Layout, little-endian: magic 8 | log 8 | segment base offset 8 | covered bytes 8 | covered end offset 8 | covered epoch 4 | newest
//! timestamp 8 | entry count 4 | entries | CRC-32C of all before it 4. An entry of `.index` is offset delta 4 | position 4, of `.time`
//! timestamp 8 | offset delta 4. Deltas are to the base offset.
//! There are at most `INDEX_ENTRIES_MAX` entries: what is looked for in a segment that is not in memory is read in large blocks anyway.
//! Always: a file is taken only for the life of the log that wrote it, and only where the log still has the batch it ends in: one (epoch,
//! offset) has one content for ever, so everything in front of it is as it was.

use super::index::{OffsetEntry, SegmentIndex, TimeEntry};
use crate::ids::{LeaderEpoch, LogNumber, Offset};

const OFFSETS_MAGIC: [u8; 8] = *b"MSINDEX1";
const TIMES_MAGIC: [u8; 8] = *b"MSTIMES1";
const HEADER_BYTES: usize = 56;
const CRC_BYTES: usize = 4;
/// BOUND: of each of the two indexes; one entry in 32 KiB of a segment of 1 GiB.
pub const INDEX_ENTRIES_MAX: usize = 32 << 10;
/// No file is longer.
pub const INDEX_FILE_BYTES_MAX: usize = HEADER_BYTES + INDEX_ENTRIES_MAX * 12 + CRC_BYTES;

/// Whose index a file is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IndexIdentity {
    /// The life of the replica.
    pub log: LogNumber,
    /// The segment.
    pub segment: Offset,
}

/// What an index covers: the segment from its start to this place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Covered {
    /// Bytes of the segment.
    pub bytes: u64,
    /// The offset behind the last batch.
    pub end: Offset,
    /// The epoch of the last batch; -1 where there is none.
    pub epoch: LeaderEpoch,
}

/// Why index files are not taken. All mean: build again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IndexUnfit {
    /// Not whole, another format, or a wrong CRC.
    Damaged,
    /// Of another log or segment.
    Foreign,
    /// The two files do not cover the same, or their entries do not rise.
    Inconsistent,
}

/// The content of `OFFSET.index`; the index has no more entries than a file takes.
pub fn encode_offsets(index: &SegmentIndex, identity: IndexIdentity, covered: Covered) -> Vec<u8> {
    let entries = index.offsets.iter().map(|entry| {
        let mut bytes = [0; 8];
        bytes[..4].copy_from_slice(&entry.offset_delta.to_le_bytes());
        bytes[4..].copy_from_slice(&entry.position.to_le_bytes());
        bytes
    });
    encode(OFFSETS_MAGIC, identity, covered, index.newest(), entries)
}

/// The content of `OFFSET.time`; the same.
pub fn encode_times(index: &SegmentIndex, identity: IndexIdentity, covered: Covered) -> Vec<u8> {
    let entries = index.times.iter().map(|entry| {
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&entry.timestamp.to_le_bytes());
        bytes[8..].copy_from_slice(&entry.offset_delta.to_le_bytes());
        bytes
    });
    encode(TIMES_MAGIC, identity, covered, index.newest(), entries)
}

fn encode<const N: usize>(
    magic: [u8; 8],
    identity: IndexIdentity,
    covered: Covered,
    newest: i64,
    entries: impl ExactSizeIterator<Item = [u8; N]>,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES + entries.len() * N + CRC_BYTES);
    out.extend_from_slice(&magic);
    out.extend_from_slice(&identity.log.0.to_le_bytes());
    out.extend_from_slice(&identity.segment.0.to_le_bytes());
    out.extend_from_slice(&covered.bytes.to_le_bytes());
    out.extend_from_slice(&covered.end.0.to_le_bytes());
    out.extend_from_slice(&covered.epoch.0.to_le_bytes());
    out.extend_from_slice(&newest.to_le_bytes());
    out.extend_from_slice(&(entries.len() as u32).to_le_bytes());
    assert_eq!(out.len(), HEADER_BYTES, "the header has its size");
    entries.for_each(|entry| out.extend_from_slice(&entry));
    let crc = crc32c::crc32c(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

/// Reads the two files of a segment. What they cover may be less than the segment (go on with the batches behind it), and must be checked
/// against the log: `Layout::has`.
pub fn decode_index(
    offsets: &[u8],
    times: &[u8],
    identity: IndexIdentity,
) -> Result<(SegmentIndex, Covered), IndexUnfit> {
    let (covered, newest, offset_entries) = decode::<8>(OFFSETS_MAGIC, offsets, identity)?;
    let (times_covered, times_newest, time_entries) = decode::<12>(TIMES_MAGIC, times, identity)?;
    let offsets: Vec<_> = offset_entries.iter().map(offset_entry).collect();
    let times: Vec<_> = time_entries.iter().map(time_entry).collect();
    let rising = offsets.windows(2).all(|pair| {
        pair[0].offset_delta < pair[1].offset_delta && pair[0].position < pair[1].position
    }) && times.windows(2).all(|pair| {
        pair[0].timestamp < pair[1].timestamp && pair[0].offset_delta < pair[1].offset_delta
    });
    let inside = offsets
        .last()
        .is_none_or(|entry| u64::from(entry.position) < covered.bytes);
    if !rising || !inside || (covered, newest) != (times_covered, times_newest) {
        return Err(IndexUnfit::Inconsistent);
    }
    Ok((SegmentIndex::from_entries(offsets, times, newest), covered))
}

fn decode<const N: usize>(
    magic: [u8; 8],
    file: &[u8],
    identity: IndexIdentity,
) -> Result<(Covered, i64, &[[u8; N]]), IndexUnfit> {
    let (content, crc) = file
        .split_last_chunk::<CRC_BYTES>()
        .ok_or(IndexUnfit::Damaged)?;
    let (header, entries) = content
        .split_first_chunk::<HEADER_BYTES>()
        .ok_or(IndexUnfit::Damaged)?;
    if header[..8] != magic || crc32c::crc32c(content) != u32::from_le_bytes(*crc) {
        return Err(IndexUnfit::Damaged);
    }
    if number(header, 8) != identity.log.0 || number(header, 16) != identity.segment.0 as u64 {
        return Err(IndexUnfit::Foreign);
    }
    let covered = Covered {
        bytes: number(header, 24),
        end: Offset(number(header, 32) as i64),
        epoch: LeaderEpoch(number(header, 40) as u32 as i32),
    };
    let newest = number(header, 44) as i64;
    let count = u32::from_le_bytes(
        *header
            .last_chunk()
            .expect("a header is longer than 4 bytes"),
    );
    let (entries, rest) = entries.as_chunks::<N>();
    if !rest.is_empty() || entries.len() != count as usize {
        return Err(IndexUnfit::Damaged);
    }
    Ok((covered, newest, entries))
}

fn offset_entry(bytes: &[u8; 8]) -> OffsetEntry {
    let both = u64::from_le_bytes(*bytes);
    OffsetEntry {
        offset_delta: both as u32,
        position: (both >> 32) as u32,
    }
}

fn time_entry(bytes: &[u8; 12]) -> TimeEntry {
    let [timestamp @ .., a, b, c, d] = *bytes;
    TimeEntry {
        timestamp: i64::from_le_bytes(timestamp),
        offset_delta: u32::from_le_bytes([a, b, c, d]),
    }
}

fn number(header: &[u8; HEADER_BYTES], at: usize) -> u64 {
    u64::from_le_bytes(
        *header[at..]
            .first_chunk()
            .expect("every number ends inside the header"),
    )
}
