//! The walk over the records of a batch: sizes, offset deltas, count, keys and timestamps, in a few nanoseconds per record.
//!
//! Always: what the walk accepts, the record iterator reads without an error.

use super::varint::Cursor;

/// What the walk found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Walked {
    /// The smallest record timestamp, relative to the base timestamp.
    pub(super) delta_min: i64,
    /// The largest one.
    pub(super) delta_max: i64,
    /// Records without a key.
    pub(super) keyless_count: u32,
}

/// Walks the uncompressed records of a batch that a producer sent: the offset deltas are 0, 1, 2... without a hole, and
/// nothing follows the last one. The error names what is wrong.
pub(super) fn walk(records: &[u8], count: i32) -> Result<Walked, &'static str> {
    let mut walked = Walked {
        delta_min: i64::MAX,
        delta_max: i64::MIN,
        keyless_count: 0,
    };
    let mut cursor = Cursor::new(records);
    for index in 0..count {
        step(&mut cursor, index, &mut walked)?;
    }
    match cursor.left() {
        0 => Ok(walked),
        _ => Err("bytes follow the last record"),
    }
}

#[inline]
fn step(cursor: &mut Cursor<'_>, index: i32, walked: &mut Walked) -> Result<(), &'static str> {
    const CUT: &str = "a record is longer than the batch";
    const INSIDE: &str = "a field is longer than its record";
    let length = cursor.varint().ok_or(CUT)?;
    let length = usize::try_from(length).map_err(|_| "a record has a negative length")?;
    let mut record = Cursor::new(cursor.take(length).ok_or(CUT)?);
    record.byte().ok_or(INSIDE)?;
    let timestamp_delta = record.varlong().ok_or(INSIDE)?;
    if record.varint().ok_or(INSIDE)? != index {
        return Err("offset deltas are not 0, 1, 2...");
    }
    walked.delta_min = walked.delta_min.min(timestamp_delta);
    walked.delta_max = walked.delta_max.max(timestamp_delta);
    let key = record.nullable().ok_or(INSIDE)?;
    walked.keyless_count += u32::from(key.is_none());
    record.nullable().ok_or(INSIDE)?;
    let headers = record.varint().ok_or(INSIDE)?;
    if headers < 0 {
        return Err("a record has a negative number of headers");
    }
    for _ in 0..headers {
        let key = record
            .varint()
            .and_then(|length| usize::try_from(length).ok());
        record
            .take(key.ok_or("a header has no key")?)
            .ok_or(INSIDE)?;
        record.nullable().ok_or(INSIDE)?;
    }
    match record.left() {
        0 => Ok(()),
        _ => Err("a record is longer than its fields"),
    }
}
