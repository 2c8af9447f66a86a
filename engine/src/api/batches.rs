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

/// BOUND: bytes that the batches of one request may have when decompressed, all together.
const REQUEST_DECOMPRESSED_BYTES_MAX: usize = 256 << 20;

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

/// A batch of a Produce request, and what it must keep and become.
#[derive(Clone, Debug)]
pub struct Unprepared {
    /// As it came.
    pub batch: Bytes,
    /// What it must keep.
    pub rules: batch::BatchRules,
    /// What its topic wants it compressed with; `None` for what it came with.
    pub codec: Option<batch::Compression>,
}

/// A batch as it is to be stored: mostly as it came, else recompressed for the topic (rule R9) or with its true largest timestamp.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Its header.
    pub head: batch::BatchHead,
    /// The whole.
    pub batch: Bytes,
    /// Bytes that were allocated for it.
    pub rewritten_bytes: usize,
}

/// What the batches of one request may still cost.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    rewritten_bytes: usize,
    decompressed_bytes: usize,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget {
            rewritten_bytes: REWRITTEN_BYTES_MAX,
            decompressed_bytes: REQUEST_DECOMPRESSED_BYTES_MAX,
        }
    }
}

impl Unprepared {
    /// Whether it takes long: then it is not for the shard's own thread.
    pub fn is_laborious(&self) -> bool {
        batch::is_laborious(&self.batch, &self.rules, self.codec)
    }

    /// Checks the batch and makes of it what is to be stored.
    pub fn prepare(&self, budget: &mut Budget) -> Result<Prepared, BatchRefused> {
        self.prepared(budget).map_err(refused)
    }

    fn prepared(&self, budget: &mut Budget) -> Result<Prepared, batch::BatchRefusal> {
        let rules = &self.rules;
        let decompressed = &mut budget.decompressed_bytes;
        let head = batch::validate_within(&self.batch, rules, decompressed)?;
        let left = budget.rewritten_bytes;
        let limit = left.min(rules.decompressed_bytes_max);
        let rewritten =
            batch::rewritten(&self.batch, &head, self.codec, rules, limit, decompressed)?;
        let Some((head, rewritten)) = rewritten else {
            return Ok(Prepared {
                head,
                batch: self.batch.clone(),
                rewritten_bytes: 0,
            });
        };
        if rewritten.len() > rules.bytes_max || rewritten.len() > left {
            return Err(batch::BatchRefusal::TooLarge);
        }
        if rewritten.len() > rules.segment_bytes {
            return Err(batch::BatchRefusal::LargerThanSegment);
        }
        budget.rewritten_bytes -= rewritten.len();
        Ok(Prepared {
            head,
            rewritten_bytes: rewritten.len(),
            batch: rewritten,
        })
    }
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
