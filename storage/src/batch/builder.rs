//! Makes batches: for the client, for markers that the broker writes, for tests and load.
//!
//! Always: what it makes passes `validate` (markers excepted, which no client may write).

use super::codec::{Compression, compress};
use super::head::{ATTRIBUTES_AT, Attributes, BatchHead, HEADER_BYTES};
use super::varint::{put_varlong, varlong_bytes};
use crate::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};
use bytes::Bytes;

/// What the header of a new batch says beyond its records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchHeader {
    /// 0 for a batch that is to be produced.
    pub base_offset: Offset,
    /// -1 for a batch that is to be produced.
    pub leader_epoch: LeaderEpoch,
    /// The codec.
    pub compression: Compression,
    /// -1 where the producer is not idempotent.
    pub producer_id: ProducerId,
    /// -1 where the producer is not idempotent.
    pub producer_epoch: ProducerEpoch,
    /// -1 where the producer is not idempotent.
    pub base_sequence: i32,
    /// Whether it is part of a transaction.
    pub transactional: bool,
}

impl Default for BatchHeader {
    fn default() -> BatchHeader {
        BatchHeader {
            base_offset: Offset(0),
            leader_epoch: LeaderEpoch(-1),
            compression: Compression::None,
            producer_id: ProducerId(-1),
            producer_epoch: ProducerEpoch(-1),
            base_sequence: -1,
            transactional: false,
        }
    }
}

/// What a control batch says (R10).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ControlKind {
    /// The transaction of its producer is aborted.
    Abort,
    /// The transaction of its producer is committed.
    Commit,
}

/// A batch that grows record by record.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    header: BatchHeader,
    /// Room for the header, then the records.
    bytes: Vec<u8>,
    record_count: i32,
    base_timestamp: i64,
    max_timestamp: i64,
    control: bool,
}

impl BatchBuilder {
    /// A batch without records.
    pub fn new(header: BatchHeader) -> BatchBuilder {
        BatchBuilder {
            header,
            bytes: vec![0; HEADER_BYTES],
            record_count: 0,
            base_timestamp: -1,
            max_timestamp: -1,
            control: false,
        }
    }

    /// A control batch: one record that ends the transaction of the producer in `header`.
    pub fn control(
        header: BatchHeader,
        kind: ControlKind,
        coordinator_epoch: i32,
        timestamp: i64,
    ) -> Bytes {
        let mut builder = BatchBuilder::new(BatchHeader {
            compression: Compression::None,
            base_sequence: -1,
            transactional: true,
            ..header
        });
        builder.control = true;
        let key = [0, 0, 0, (kind == ControlKind::Commit) as u8];
        let mut value = [0; 6];
        value[2..].copy_from_slice(&coordinator_epoch.to_be_bytes());
        builder.push(timestamp, Some(&key), Some(&value), &[]);
        builder.finish()
    }

    /// Appends a record; `timestamp` in milliseconds.
    pub fn push(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, Option<&[u8]>)],
    ) {
        if self.record_count == 0 {
            self.base_timestamp = timestamp;
        }
        self.max_timestamp = self.max_timestamp.max(timestamp);
        let timestamp_delta = timestamp.wrapping_sub(self.base_timestamp);
        let offset_delta = i64::from(self.record_count);
        let body = 1 + varlong_bytes(timestamp_delta) + varlong_bytes(offset_delta);
        let body = body + nullable_bytes(key) + nullable_bytes(value) + headers_bytes(headers);
        let out = &mut self.bytes;
        put_varlong(out, body as i64);
        out.push(0);
        put_varlong(out, timestamp_delta);
        put_varlong(out, offset_delta);
        put_nullable(out, key);
        put_nullable(out, value);
        put_varlong(out, headers.len() as i64);
        for (key, value) in headers {
            put_nullable(out, Some(key.as_bytes()));
            put_nullable(out, *value);
        }
        self.record_count += 1;
    }

    /// How many records it has.
    pub fn record_count(&self) -> usize {
        self.record_count as usize
    }

    /// Bytes of the batch before compression.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The batch, compressed and with its CRC.
    pub fn finish(self) -> Bytes {
        let codec = self.header.compression;
        let mut batch = self.bytes;
        if codec != Compression::None {
            let mut compressed = vec![0; HEADER_BYTES];
            compress(codec, &batch[HEADER_BYTES..], &mut compressed);
            batch = compressed;
        }
        let transactional = if self.header.transactional {
            Attributes::TRANSACTIONAL
        } else {
            0
        };
        let control = if self.control { Attributes::CONTROL } else { 0 };
        let mut head = BatchHead {
            base_offset: self.header.base_offset,
            bytes: batch.len(),
            leader_epoch: self.header.leader_epoch,
            crc: 0,
            attributes: Attributes(codec.number() | transactional | control),
            last_offset_delta: (self.record_count - 1).max(0),
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id: self.header.producer_id,
            producer_epoch: self.header.producer_epoch,
            base_sequence: self.header.base_sequence,
            record_count: self.record_count,
        };
        write_head(&head, &mut batch);
        head.crc = crc32c::crc32c(&batch[ATTRIBUTES_AT..]);
        write_head(&head, &mut batch);
        batch.into()
    }
}

fn write_head(head: &BatchHead, batch: &mut [u8]) {
    head.write(
        batch
            .first_chunk_mut()
            .expect("the builder begins with room for the header"),
    );
}

fn nullable_bytes(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| varlong_bytes(bytes.len() as i64) + bytes.len())
}

fn headers_bytes(headers: &[(&str, Option<&[u8]>)]) -> usize {
    let each = headers
        .iter()
        .map(|(key, value)| nullable_bytes(Some(key.as_bytes())) + nullable_bytes(*value));
    varlong_bytes(headers.len() as i64) + each.sum::<usize>()
}

fn put_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    put_varlong(out, bytes.map_or(-1, |bytes| bytes.len() as i64));
    out.extend_from_slice(bytes.unwrap_or_default());
}
