//! The bytes of the quorum's files, in a directory of their own.
//!
//! All numbers are little endian; every CRC is CRC-32C. A payload is a flatbuffer (`fbs/metadata.fbs`).
//!
//! ```text
//! vote              magic "MSQV", version u16, zero u16, term u64, candidate u64, crc u32 of everything before
//! log-INDEX         head, frames, zeros. INDEX (20 digits) is that of its first frame. The head takes a block (4096 B), every
//!                   write of frames begins a block, so that a block lost in flight holds nothing that was acknowledged
//!   head  32 B      magic "MSQL", version u16, zero u16, first index u64, zero u64, previous crc u32 (of the last frame in
//!                   the file before; 0 without one), crc u32 of everything before
//!   frame 32 B      magic "MSQE", payload bytes u32, index u64, synced u64, previous crc u32, crc u32 of everything before and
//!                   the payload; then the payload, an `Entry`
//! snapshot-INDEX    magic "MSQS", version u16, zero u16, index u64, payload bytes u64, crc u32 of everything before and the
//!                   payload, zero u32; then the payload, a `Snapshot`
//! ```
//!
//! The next frame lies directly behind one, or at the next block. It is the next if its index is and its previous crc is that of
//! the frame (or head) before it. `synced` is the highest index that was durable when the frame was written: a frame that does not check is torn if no later frame vouches for it (it
//! was never acknowledged), else it is damage. A frame without payload carries no entry (its index is that of the next one): it
//! only vouches, and is written when the log has been quiet for a while. In the frames no later one vouches for, torn and rotten
//! cannot be told apart.
//! Behind the block of the last frame a file is zero: recovery writes the zeros back over a torn end.
//! vote and snapshot are written under another name (`.tmp`), synced, renamed, and the directory synced. The vote changes names with
//! the one before it, which stays as `vote.tmp`: the next one needs no room.

use crate::machine::image::Entry;
use millstream_storage::disk::BLOCK_BYTES;
use millstream_storage::ids::MetadataIndex;
use std::path::{Path, PathBuf};

pub(super) const VERSION: u16 = 1;
const VOTE_MAGIC: [u8; 4] = *b"MSQV";
const LOG_MAGIC: [u8; 4] = *b"MSQL";
const FRAME_MAGIC: [u8; 4] = *b"MSQE";
const SNAPSHOT_MAGIC: [u8; 4] = *b"MSQS";

/// Bytes of a vote.
pub const VOTE_BYTES: usize = 28;
/// Bytes of a log file's head, of a frame's, and of a snapshot's.
pub const HEAD_BYTES: usize = 32;

/// Why bytes are not what they should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bad {
    /// Something that was not wholly written, or has rotted.
    Broken,
    /// Whole, but of a version this program does not know.
    Newer(u16),
}

/// The term of this node and whom it voted for in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Vote {
    /// The term.
    pub term: u64,
    /// The candidate's id in the quorum.
    pub candidate: u64,
}

impl Vote {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(VOTE_BYTES);
        bytes.extend(VOTE_MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend([0; 2]);
        bytes.extend(self.term.to_le_bytes());
        bytes.extend(self.candidate.to_le_bytes());
        seal(&mut bytes);
        bytes
    }

    /// From its bytes.
    pub fn decode(bytes: &[u8]) -> Result<Vote, Bad> {
        let bytes: &[u8; VOTE_BYTES] = bytes.first_chunk().ok_or(Bad::Broken)?;
        check(bytes, VOTE_MAGIC, VOTE_BYTES - 4)?;
        Ok(Vote {
            term: u64_at(bytes, 8),
            candidate: u64_at(bytes, 16),
        })
    }
}

/// The head of a log file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogHead {
    /// The index of its first frame.
    pub first: MetadataIndex,
    /// The crc of the last frame in the file before.
    pub previous_crc: u32,
}

impl LogHead {
    /// Its bytes, a block of them, and its crc.
    pub fn encode(&self) -> (Vec<u8>, u32) {
        let mut bytes = Vec::with_capacity(BLOCK_BYTES);
        bytes.extend(LOG_MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend([0; 2]);
        bytes.extend(self.first.0.to_le_bytes());
        bytes.extend([0; 8]);
        bytes.extend(self.previous_crc.to_le_bytes());
        let crc = seal(&mut bytes);
        pad(&mut bytes);
        (bytes, crc)
    }

    /// From its bytes, with its crc.
    pub fn decode(bytes: &[u8]) -> Result<(LogHead, u32), Bad> {
        let bytes: &[u8; HEAD_BYTES] = bytes.first_chunk().ok_or(Bad::Broken)?;
        check(bytes, LOG_MAGIC, HEAD_BYTES - 4)?;
        let head = LogHead {
            first: MetadataIndex(u64_at(bytes, 8)),
            previous_crc: u32_at(bytes, 24),
        };
        Ok((head, u32_at(bytes, 28)))
    }
}

/// Appends the frame of an entry to `into` and returns its crc.
pub fn encode_frame(
    entry: &Entry,
    synced: MetadataIndex,
    previous_crc: u32,
    into: &mut Vec<u8>,
) -> u32 {
    encode_bytes(entry.index, &entry.encode(), synced, previous_crc, into)
}

/// Appends a frame that only vouches for those before it, and returns its crc.
pub fn encode_vouch(synced: MetadataIndex, previous_crc: u32, into: &mut Vec<u8>) -> u32 {
    let next = MetadataIndex(synced.0 + 1);
    encode_bytes(next, &[], synced, previous_crc, into)
}

fn encode_bytes(
    index: MetadataIndex,
    payload: &[u8],
    synced: MetadataIndex,
    previous_crc: u32,
    into: &mut Vec<u8>,
) -> u32 {
    let begin = into.len();
    into.extend(FRAME_MAGIC);
    into.extend((payload.len() as u32).to_le_bytes());
    into.extend(index.0.to_le_bytes());
    into.extend(synced.0.to_le_bytes());
    into.extend(previous_crc.to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&into[begin..]), payload);
    into.extend(crc.to_le_bytes());
    into.extend(payload);
    crc
}

/// A frame whose bytes are whole.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// The index of its entry.
    pub index: MetadataIndex,
    /// The highest index that was durable when it was written.
    pub synced: MetadataIndex,
    /// The crc of the frame before it.
    pub previous_crc: u32,
    /// Its own.
    pub crc: u32,
    /// The entry's bytes.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The frame at the beginning of `bytes`, if it is whole.
    pub fn decode(bytes: &'a [u8]) -> Option<Frame<'a>> {
        let head: &[u8; HEAD_BYTES] = bytes.first_chunk()?;
        if head[..4] != FRAME_MAGIC {
            return None;
        }
        let length = u32_at(head, 4) as usize;
        let payload = bytes.get(HEAD_BYTES..HEAD_BYTES.checked_add(length)?)?;
        let crc = crc32c::crc32c_append(crc32c::crc32c(&head[..HEAD_BYTES - 4]), payload);
        if crc != u32_at(head, 28) {
            return None;
        }
        Some(Frame {
            index: MetadataIndex(u64_at(head, 8)),
            synced: MetadataIndex(u64_at(head, 16)),
            previous_crc: u32_at(head, 24),
            crc,
            payload,
        })
    }

    /// Bytes of the frame.
    pub fn bytes(&self) -> usize {
        HEAD_BYTES + self.payload.len()
    }

    /// The next whole frame behind the beginning of `bytes`, and where.
    pub fn find(bytes: &'a [u8]) -> Option<(usize, Frame<'a>)> {
        let is_magic = |at: &usize| bytes[*at..].starts_with(&FRAME_MAGIC);
        (1..bytes.len())
            .filter(is_magic)
            .find_map(|at| Frame::decode(&bytes[at..]).map(|frame| (at, frame)))
    }
}

/// A snapshot's file: its head before the payload.
pub fn encode_snapshot(index: MetadataIndex, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD_BYTES + payload.len());
    bytes.extend(SNAPSHOT_MAGIC);
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend([0; 2]);
    bytes.extend(index.0.to_le_bytes());
    bytes.extend((payload.len() as u64).to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes), payload);
    bytes.extend(crc.to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes
}

/// The payload of a snapshot's file.
pub fn decode_snapshot(bytes: &[u8]) -> Result<(MetadataIndex, &[u8]), Bad> {
    let head: &[u8; HEAD_BYTES] = bytes.first_chunk().ok_or(Bad::Broken)?;
    if head[..4] != SNAPSHOT_MAGIC {
        return Err(Bad::Broken);
    }
    let version = u16::from_le_bytes([head[4], head[5]]);
    if version > VERSION {
        return Err(Bad::Newer(version));
    }
    let length = usize::try_from(u64_at(head, 16)).map_err(|_| Bad::Broken)?;
    let end = HEAD_BYTES.checked_add(length).ok_or(Bad::Broken)?;
    let payload = bytes.get(HEAD_BYTES..end).ok_or(Bad::Broken)?;
    let crc = crc32c::crc32c_append(crc32c::crc32c(&head[..24]), payload);
    if crc != u32_at(head, 24) || version == 0 {
        return Err(Bad::Broken);
    }
    Ok((MetadataIndex(u64_at(head, 8)), payload))
}

/// What a file of the quorum is, by its name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum FileKind {
    /// The vote.
    Vote,
    /// Entries from an index on.
    Log(MetadataIndex),
    /// The image as of an index.
    Snapshot(MetadataIndex),
    /// What the vote was before, or is being replaced with: the next vote is written over it.
    SpareVote,
    /// Something that was being written when a process ended.
    Temporary,
}

impl FileKind {
    /// The kind of a name; `None` for names that are not the quorum's.
    pub fn of(name: &Path) -> Option<FileKind> {
        let name = name.to_str()?;
        if name == "vote.tmp" {
            return Some(FileKind::SpareVote);
        }
        if name.ends_with(".tmp") {
            return Some(FileKind::Temporary);
        }
        if name == "vote" {
            return Some(FileKind::Vote);
        }
        let (kind, digits) = name.split_once('-')?;
        if digits.len() != 20 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        let index = MetadataIndex(digits.parse().ok()?);
        match kind {
            "log" => Some(FileKind::Log(index)),
            "snapshot" => Some(FileKind::Snapshot(index)),
            _ => None,
        }
    }
}

/// The path of a log file.
pub fn log_path(directory: &Path, first: MetadataIndex) -> PathBuf {
    directory.join(format!("log-{:020}", first.0))
}

/// The path of a snapshot.
pub fn snapshot_path(directory: &Path, index: MetadataIndex) -> PathBuf {
    directory.join(format!("snapshot-{:020}", index.0))
}

/// Fills up to a whole number of blocks.
pub fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(BLOCK_BYTES), 0);
}

/// Appends the crc of everything so far.
fn seal(bytes: &mut Vec<u8>) -> u32 {
    let crc = crc32c::crc32c(bytes);
    bytes.extend(crc.to_le_bytes());
    crc
}

/// Magic, crc at `crc_at`, version.
fn check(bytes: &[u8], magic: [u8; 4], crc_at: usize) -> Result<(), Bad> {
    if bytes[..4] != magic || crc32c::crc32c(&bytes[..crc_at]) != u32_at(bytes, crc_at) {
        return Err(Bad::Broken);
    }
    match u16::from_le_bytes([bytes[4], bytes[5]]) {
        VERSION => Ok(()),
        newer => Err(Bad::Newer(newer)),
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let part = bytes[at..].first_chunk().expect("heads have a fixed size");
    u32::from_le_bytes(*part)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let part = bytes[at..].first_chunk().expect("heads have a fixed size");
    u64::from_le_bytes(*part)
}
