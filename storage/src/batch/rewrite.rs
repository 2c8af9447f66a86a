//! Batches that are not stored as they came: recompressed because the topic says so (R9), or with their true largest timestamp.
//!
//! Always: the records and what the header says of them stay as they are; only codec, largest timestamp, length and CRC change.

use super::codec::{Compression, compress};
use super::head::{
    ATTRIBUTES_AT, Attributes, BatchHead, HEADER_BYTES, MAX_TIMESTAMP_AT, RECORDS_AT,
};
use super::rules::{BatchRefusal, BatchRules, decompress_within, timestamps};
use super::walk::walk;
use bytes::Bytes;

/// The batch as it is to be stored, where that differs from what came. `head` is what `validate` gave for `batch`; `codec` is the
/// one of the topic, `None` where the producer's stays. Records that are unpacked for it are held to the rule of timestamps (R6); they may have
/// at most `limit_bytes` bytes, and `left_bytes`, from which they are taken off.
pub fn rewritten(
    batch: &[u8],
    head: &BatchHead,
    codec: Option<Compression>,
    rules: &BatchRules,
    limit_bytes: usize,
    left_bytes: &mut usize,
) -> Result<Option<(BatchHead, Bytes)>, BatchRefusal> {
    let present = head.attributes.compression();
    let present = present.ok_or(BatchRefusal::Compression)?;
    let wanted = codec.unwrap_or(present);
    let told = &batch[MAX_TIMESTAMP_AT..][..8];
    if wanted == present && told == head.max_timestamp.to_be_bytes() {
        return Ok(None);
    }
    let mut head = *head;
    let mut bytes = vec![0; HEADER_BYTES];
    if wanted == present {
        bytes.extend_from_slice(&batch[RECORDS_AT..]);
    } else {
        let records = decompress_within(present, &batch[RECORDS_AT..], limit_bytes, left_bytes)?;
        let walked = walk(&records, head.record_count).map_err(BatchRefusal::Invalid)?;
        timestamps(&records, &head, &walked, rules)?;
        head.max_timestamp = head.base_timestamp.saturating_add(walked.delta_max);
        compress(wanted, &records, &mut bytes);
    }
    head.bytes = bytes.len();
    head.attributes = Attributes(head.attributes.0 & !Attributes::CODEC | wanted.number());
    write(&head, &mut bytes);
    head.crc = crc32c::crc32c(&bytes[ATTRIBUTES_AT..]);
    write(&head, &mut bytes);
    Ok(Some((head, bytes.into())))
}

fn write(head: &BatchHead, bytes: &mut [u8]) {
    let room = bytes.first_chunk_mut();
    head.write(room.expect("it begins with room for the header"));
}
