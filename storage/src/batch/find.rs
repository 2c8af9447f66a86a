//! Looking for a time inside a batch.

use super::codec::DecompressError;
use super::head::{BatchHead, Malformed};
use super::records::OpenBatch;
use crate::ids::Offset;

/// A record found by its time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Found {
    /// Its offset.
    pub offset: Offset,
    /// Its timestamp, milliseconds.
    pub timestamp: i64,
}

/// What the header of a batch tells of a record that is sought by its time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InHead {
    /// The batch has no such record.
    Nothing,
    /// This one.
    Found(Found),
    /// If there is one, only the records tell which.
    AmongRecords,
}

/// Whether the header settles which record of its batch, at `from` or behind it, is the first whose timestamp is `timestamp` or later.
pub fn find_in_head(head: &BatchHead, timestamp: i64, from: Offset) -> InHead {
    if head.max_timestamp < timestamp || head.attributes.is_control() {
        return InHead::Nothing;
    }
    match head.attributes.is_log_append_time() {
        // Every record has the time of the batch.
        true => InHead::Found(as_a_whole(head, from)),
        false => InHead::AmongRecords,
    }
}

fn as_a_whole(head: &BatchHead, from: Offset) -> Found {
    Found {
        offset: head.base_offset.max(from),
        timestamp: head.max_timestamp,
    }
}

/// The first record of the batch `bytes` begins with, at `from` or behind it, whose timestamp is `timestamp` or later. Decompresses at most `limit_bytes`, and
/// only where the header says that there is one: where that is not enough, the whole batch is it. What no reader can unpack has no records.
pub fn find_timestamp(
    bytes: &[u8],
    timestamp: i64,
    from: Offset,
    limit_bytes: usize,
) -> Result<Option<Found>, Malformed> {
    let head = BatchHead::parse(bytes)?;
    match find_in_head(&head, timestamp, from) {
        InHead::Nothing => return Ok(None),
        InHead::Found(found) => return Ok(Some(found)),
        InHead::AmongRecords => {}
    }
    let batch = match OpenBatch::new(bytes, limit_bytes) {
        Ok(batch) => batch,
        // Its readers look for themselves.
        Err(Malformed::Compression(DecompressError::TooLarge)) => {
            return Ok(Some(as_a_whole(&head, from)));
        }
        Err(_) => return Ok(None),
    };
    for record in batch.records() {
        let Ok(record) = record else {
            return Ok(None);
        };
        if record.timestamp >= timestamp && record.offset >= from {
            return Ok(Some(Found {
                offset: record.offset,
                timestamp: record.timestamp,
            }));
        }
    }
    Ok(None)
}
