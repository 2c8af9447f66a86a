//! What a batch of a client must be before it gets offsets (R1 to R8).
//!
//! Always: (1) rules are applied in the order of R3, so a batch that breaks several gets the error that Kafka gives; (2) compressed
//! records are decompressed only when a rule needs their content.

use super::codec::{Compression, DecompressError, decompress};
use super::head::{ATTRIBUTES_AT, BatchHead, Malformed, RECORDS_AT};
use super::records::Records;
use super::walk::{Walked, walk};
use crate::ids::WallMs;
use std::borrow::Cow;

/// Whether every record needs a key (R5: `compact` in `cleanup.policy`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keys {
    /// A record without key fails the batch.
    Required,
    /// They are as they are.
    Optional,
}

/// Whether zstd may be used (R4: not in Produce below version 7).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Zstd {
    /// It may.
    Allowed,
    /// It may not.
    Refused,
}

/// What is asked of record timestamps (R6, R7).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Timestamps {
    /// The producer's; they lie between `now - before_ms` and `now + after_ms`. -1 (none) is allowed.
    Created {
        /// `message.timestamp.before.max.ms`; `i64::MAX` is no bound.
        before_ms: i64,
        /// `message.timestamp.after.max.ms`.
        after_ms: i64,
    },
    /// The broker's: whatever the records carry is covered by it.
    Appended,
}

/// The rules of a topic, as of now, for one request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchRules {
    /// The broker's clock.
    pub now: WallMs,
    /// `max.message.bytes`, of the whole batch as it is sent.
    pub bytes_max: usize,
    /// `segment.bytes`.
    pub segment_bytes: usize,
    /// The bytes that its records may have when decompressed for a rule.
    pub decompressed_bytes_max: usize,
    /// Whether keys are needed.
    pub keys: Keys,
    /// Which timestamps are allowed.
    pub timestamps: Timestamps,
    /// Whether zstd is.
    pub zstd: Zstd,
}

/// Why a batch is refused. `records` are the indexes of the records at fault, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BatchRefusal {
    /// INVALID_RECORD, for this reason.
    Invalid(&'static str),
    /// INVALID_RECORD: these records have no key (R5).
    KeyMissing {
        /// The records without key.
        records: Vec<i32>,
    },
    /// CORRUPT_MESSAGE.
    Corrupt(&'static str),
    /// MESSAGE_TOO_LARGE.
    TooLarge,
    /// RECORD_LIST_TOO_LARGE: it does not fit into a segment.
    LargerThanSegment,
    /// UNSUPPORTED_COMPRESSION_TYPE.
    Compression,
    /// INVALID_TIMESTAMP. Empty where the batch as a whole is at fault.
    Timestamp {
        /// The records out of bounds.
        records: Vec<i32>,
    },
}

/// Whether `validate`, or `rewritten` to `codec`, must decompress or compress the records: that can take long, while all else is
/// told by the header or by walking over records as they are.
pub fn is_laborious(batch: &[u8], rules: &BatchRules, codec: Option<Compression>) -> bool {
    let Ok(head) = BatchHead::parse(batch) else {
        return false;
    };
    match head.attributes.compression() {
        Some(present) if codec.is_some_and(|wanted| wanted != present) => true,
        Some(Compression::None) | None => false,
        Some(_) => rules.keys == Keys::Required || !timestamps_by_header(&head, rules),
    }
}

/// Decides whether `batch`, the records field of one partition in a Produce request, may be appended. Gives its header as it is to
/// be stored: where the records were read for a rule, with their largest timestamp, whatever the producer wrote there.
pub fn validate(batch: &[u8], rules: &BatchRules) -> Result<BatchHead, BatchRefusal> {
    let mut left_bytes = usize::MAX;
    validate_within(batch, rules, &mut left_bytes)
}

/// The same, where `left_bytes` may still be decompressed: what was, or was tried, is taken off.
pub fn validate_within(
    batch: &[u8],
    rules: &BatchRules,
    left_bytes: &mut usize,
) -> Result<BatchHead, BatchRefusal> {
    let mut head = one_batch(batch)?;
    let codec = codec(&head, rules)?;
    envelope(batch, &head, rules)?;
    header(&head)?;
    if let Some(max_timestamp) = content(batch, &head, codec, rules, left_bytes)? {
        head.max_timestamp = max_timestamp;
    }
    if head.bytes > rules.segment_bytes {
        return Err(BatchRefusal::LargerThanSegment);
    }
    Ok(head)
}

/// R1: exactly one batch of version 2.
fn one_batch(batch: &[u8]) -> Result<BatchHead, BatchRefusal> {
    let head = BatchHead::parse(batch).map_err(|malformed| match malformed {
        Malformed::Short if batch.is_empty() => BatchRefusal::Invalid("there is no batch"),
        Malformed::Magic => BatchRefusal::Invalid("only record batches of version 2 are accepted"),
        Malformed::Length => BatchRefusal::Corrupt("the batch is shorter than its header"),
        _ => BatchRefusal::Invalid("the batch is cut short"),
    })?;
    match head.bytes.cmp(&batch.len()) {
        std::cmp::Ordering::Equal => Ok(head),
        std::cmp::Ordering::Less => Err(BatchRefusal::Invalid("there is more than one batch")),
        std::cmp::Ordering::Greater => Err(BatchRefusal::Invalid("the batch is cut short")),
    }
}

/// R4, R8.
fn codec(head: &BatchHead, rules: &BatchRules) -> Result<Compression, BatchRefusal> {
    match head.attributes.compression() {
        Some(Compression::Zstd) if rules.zstd == Zstd::Refused => Err(BatchRefusal::Compression),
        Some(codec) => Ok(codec),
        None => Err(BatchRefusal::Compression),
    }
}

/// R3, first half: base offset, size, CRC.
fn envelope(batch: &[u8], head: &BatchHead, rules: &BatchRules) -> Result<(), BatchRefusal> {
    if head.base_offset.0 != 0 {
        return Err(BatchRefusal::Invalid(
            "the base offset of a produced batch is 0",
        ));
    }
    if head.bytes > rules.bytes_max {
        return Err(BatchRefusal::TooLarge);
    }
    if crc32c::crc32c(&batch[ATTRIBUTES_AT..]) != head.crc {
        return Err(BatchRefusal::Corrupt("the CRC is not that of the content"));
    }
    Ok(())
}

/// R3, second half: counts, control bit, sequence; R8.
fn header(head: &BatchHead) -> Result<(), BatchRefusal> {
    if head.record_count <= 0 {
        return Err(BatchRefusal::Invalid("a batch has at least one record"));
    }
    if i64::from(head.record_count) != i64::from(head.last_offset_delta) + 1 {
        return Err(BatchRefusal::Invalid(
            "the record count is the last offset delta plus one",
        ));
    }
    if head.attributes.is_control() {
        return Err(BatchRefusal::Invalid(
            "clients do not write control batches",
        ));
    }
    if head.has_producer() && head.base_sequence < 0 {
        return Err(BatchRefusal::Invalid(
            "an idempotent producer numbers its batches",
        ));
    }
    if head.attributes.has_delete_horizon() {
        return Err(BatchRefusal::Invalid(
            "only compaction sets a delete horizon",
        ));
    }
    Ok(())
}

/// R5, R6, and the walk. Gives the largest timestamp, where the records were read.
fn content(
    batch: &[u8],
    head: &BatchHead,
    codec: Compression,
    rules: &BatchRules,
    left_bytes: &mut usize,
) -> Result<Option<i64>, BatchRefusal> {
    let mut max_timestamp = None;
    let by_header = timestamps_by_header(head, rules);
    let needed = codec == Compression::None || rules.keys == Keys::Required || !by_header;
    if needed {
        let records = match codec {
            Compression::None => Cow::Borrowed(&batch[RECORDS_AT..]),
            _ => Cow::Owned(decompress_within(
                codec,
                &batch[RECORDS_AT..],
                rules.decompressed_bytes_max,
                left_bytes,
            )?),
        };
        let walked = walk(&records, head.record_count).map_err(BatchRefusal::Invalid)?;
        if rules.keys == Keys::Required && walked.keyless_count > 0 {
            let records = offenders(&records, head, |record| record.key.is_none());
            return Err(BatchRefusal::KeyMissing { records });
        }
        timestamps(&records, head, &walked, rules)?;
        let created = matches!(rules.timestamps, Timestamps::Created { .. });
        max_timestamp = created.then(|| head.base_timestamp.saturating_add(walked.delta_max));
    }
    if head.attributes.is_log_append_time() {
        return Err(BatchRefusal::Timestamp {
            records: Vec::new(),
        });
    }
    Ok(max_timestamp)
}

/// Decompresses records, at most `limit_bytes` and what is left, and takes it off that.
pub(super) fn decompress_within(
    codec: Compression,
    bytes: &[u8],
    limit_bytes: usize,
    left_bytes: &mut usize,
) -> Result<Vec<u8>, BatchRefusal> {
    let limit_bytes = limit_bytes.min(*left_bytes);
    let records = decompress(codec, bytes, limit_bytes);
    *left_bytes -= records.as_ref().map_or(limit_bytes, Vec::len);
    records.map_err(unreadable)
}

/// What a producer is told whose records cannot be decompressed.
fn unreadable(_: DecompressError) -> BatchRefusal {
    BatchRefusal::Invalid("the records cannot be decompressed")
}

/// Whether the header alone shows that no timestamp is out of bounds: only its maximum is known without the records.
fn timestamps_by_header(head: &BatchHead, rules: &BatchRules) -> bool {
    match rules.timestamps {
        Timestamps::Appended => true,
        Timestamps::Created {
            before_ms,
            after_ms,
        } => before_ms == i64::MAX && head.max_timestamp <= rules.now.0.saturating_add(after_ms),
    }
}

/// R6: no record's timestamp, nor the header's largest, is out of bounds.
pub(super) fn timestamps(
    records: &[u8],
    head: &BatchHead,
    walked: &Walked,
    rules: &BatchRules,
) -> Result<(), BatchRefusal> {
    let Timestamps::Created {
        before_ms,
        after_ms,
    } = rules.timestamps
    else {
        return Ok(());
    };
    let earliest = rules.now.0.saturating_sub(before_ms);
    let latest = rules.now.0.saturating_add(after_ms);
    let unbounded = before_ms == i64::MAX;
    let smallest = head.base_timestamp.saturating_add(walked.delta_min);
    let largest = head.base_timestamp.saturating_add(walked.delta_max);
    let out_of_bounds = |timestamp: i64| {
        timestamp > latest || (timestamp < earliest && !unbounded && timestamp != -1)
    };
    let suspicious = largest > latest || (smallest < earliest && !unbounded);
    let mut at_fault = Vec::new();
    if suspicious {
        at_fault = offenders(records, head, |record| out_of_bounds(record.timestamp));
    }
    // A header that promises records newer than there are would keep its segment from ever expiring.
    if at_fault.is_empty() && head.max_timestamp <= latest {
        return Ok(());
    }
    Err(BatchRefusal::Timestamp { records: at_fault })
}

fn offenders(
    records: &[u8],
    head: &BatchHead,
    wrong: impl Fn(&super::Record<'_>) -> bool,
) -> Vec<i32> {
    let records = Records::new(head, records).flatten();
    records
        .filter(wrong)
        .map(|record| record.offset_delta)
        .collect()
}
