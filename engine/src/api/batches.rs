//! Which rules a batch of a Produce request must keep, and what a client is told that broke one.

use super::produce::BatchRefused;
use crate::machine::partition::producers::{BatchHead, BatchKind};
use bytes::Bytes;
use millstream_net::wire::api::RecordError;
use millstream_net::wire::{ErrorCode, Str};
use millstream_storage::batch;

/// BOUND: so many records of a refused batch are named to the client.
const RECORD_ERRORS_MAX: usize = 100;

/// BOUND: bytes of batches that are rewritten for one request; they are not transport memory.
const REWRITTEN_BYTES_MAX: usize = 64 << 20;

/// What the client is told of a refused batch (rules R1-R6).
pub fn refused(refusal: batch::BatchRefusal) -> BatchRefused {
    use batch::BatchRefusal as Refusal;
    let (code, message, records) = match refusal {
        Refusal::Invalid(reason) => (ErrorCode::InvalidRecord, reason, Vec::new()),
        Refusal::KeyMissing { records } => (
            ErrorCode::InvalidRecord,
            "a record of a compacted topic needs a key",
            records,
        ),
        Refusal::Corrupt(reason) => (ErrorCode::CorruptMessage, reason, Vec::new()),
        Refusal::TooLarge => (
            ErrorCode::MessageTooLarge,
            "the batch is larger than max.message.bytes",
            Vec::new(),
        ),
        Refusal::LargerThanSegment => (
            ErrorCode::RecordListTooLarge,
            "the batch is larger than a segment",
            Vec::new(),
        ),
        Refusal::Compression => (
            ErrorCode::UnsupportedCompressionType,
            "the compression type is not supported here",
            Vec::new(),
        ),
        Refusal::Timestamp { records } => (
            ErrorCode::InvalidTimestamp,
            "a timestamp is outside of what the topic allows",
            records,
        ),
    };
    let records = records.into_iter().take(RECORD_ERRORS_MAX);
    BatchRefused {
        code,
        message: Some(Str::from_static(message)),
        records: records
            .map(|batch_index| RecordError {
                batch_index,
                batch_index_error_message: Some(Str::from_static(message)),
            })
            .collect(),
    }
}

/// The batch as it is to be stored: mostly as it came, else recompressed for the topic (rule R9) or with its true largest
/// timestamp. `rewritten_bytes` adds up what that takes for one request.
pub fn stored(
    head: batch::BatchHead,
    came: Bytes,
    codec: Option<batch::Compression>,
    rules: &batch::BatchRules,
    rewritten_bytes: &mut usize,
) -> Result<(batch::BatchHead, Bytes), batch::BatchRefusal> {
    let left = REWRITTEN_BYTES_MAX.saturating_sub(*rewritten_bytes);
    let limit = left.min(rules.decompressed_bytes_max);
    let Some((head, rewritten)) = batch::rewritten(&came, &head, codec, limit)? else {
        return Ok((head, came));
    };
    *rewritten_bytes += rewritten.len();
    if rewritten.len() > rules.bytes_max || rewritten.len() > left {
        return Err(batch::BatchRefusal::TooLarge);
    }
    if rewritten.len() > rules.segment_bytes {
        return Err(batch::BatchRefusal::LargerThanSegment);
    }
    Ok((head, rewritten))
}

/// The header as a partition sees it. `validate` has refused control batches.
pub fn head_of(head: &batch::BatchHead) -> BatchHead {
    BatchHead {
        base_offset: head.base_offset,
        last_offset_delta: head.last_offset_delta,
        leader_epoch: head.leader_epoch,
        max_timestamp: head.max_timestamp,
        producer: head.producer_id,
        producer_epoch: head.producer_epoch,
        base_sequence: head.base_sequence,
        kind: match head.attributes.is_transactional() {
            true => BatchKind::Transactional,
            false => BatchKind::Plain,
        },
    }
}
