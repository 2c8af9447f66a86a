//! Produce frames that are built once and afterwards only get their numbers.

use bytes::{BufMut, Bytes, BytesMut};
use millstream_net::wire::api::{ProducePartition, ProduceRequest, ProduceTopic};
use millstream_net::wire::{Str, encode_request};

/// The last version of Produce whose fields have fixed places.
const PRODUCE_VERSION: i16 = 8;
/// Where a request has its correlation id.
const CORRELATION_POSITION: usize = 8;
/// A record batch before its records.
const BATCH_HEADER_BYTES: usize = 61;

/// The form of the frames of one run.
pub struct Template {
    bytes: Vec<u8>,
    partition_position: usize,
    /// Records of one batch.
    pub records: usize,
    /// Bytes of one batch.
    pub batch_bytes: usize,
}

impl Template {
    /// A frame that appends one batch of up to `batch_bytes`, at least one record, to a partition of `topic`.
    pub fn new(topic: &str, acks: i16, batch_bytes: usize, record_bytes: usize) -> Template {
        let (batch, records) = batch(batch_bytes, record_bytes);
        let request = ProduceRequest {
            transactional_id: None,
            acks,
            timeout_ms: 30_000,
            topics: vec![ProduceTopic {
                name: Str::from(topic),
                partitions: vec![ProducePartition {
                    index: 0,
                    records: Some(batch.clone()),
                }],
                ..ProduceTopic::default()
            }],
        };
        let bytes = encode_request(
            PRODUCE_VERSION,
            0,
            Some(&Str::from("millstream-bench")),
            &request.into(),
        )
        .concat();
        let partition_position = bytes.len() - batch.len() - 8;
        Template {
            bytes,
            partition_position,
            records,
            batch_bytes: batch.len(),
        }
    }

    /// The length of every frame.
    pub fn frame_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Room for `count` frames, one behind the other.
    pub fn repeat(&self, count: usize) -> Vec<u8> {
        self.bytes.repeat(count)
    }

    /// Numbers the frame that begins at `frame`.
    pub fn number(&self, frame: &mut [u8], correlation_id: i32, partition: i32) {
        frame[CORRELATION_POSITION..CORRELATION_POSITION + 4]
            .copy_from_slice(&correlation_id.to_be_bytes());
        frame[self.partition_position..self.partition_position + 4]
            .copy_from_slice(&partition.to_be_bytes());
    }
}

/// The numbers of an answer to such a frame, without its length prefix: correlation id and error code.
pub fn read_answer(answer: &[u8], topic: &str) -> Option<(i32, i16)> {
    // Correlation id, one topic, its name, one partition, its index, the error.
    let error = 4 + 4 + 2 + topic.len() + 4 + 4;
    let correlation_id = i32::from_be_bytes(answer.get(..4)?.try_into().ok()?);
    let code = i16::from_be_bytes(answer.get(error..error + 2)?.try_into().ok()?);
    Some((correlation_id, code))
}

/// A record batch (version 2) of as many records as fit into `bytes_max`, and their number.
fn batch(bytes_max: usize, record_bytes: usize) -> (Bytes, usize) {
    let timestamp = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as i64);
    let mut records = BytesMut::new();
    let mut count = 0;
    loop {
        let record = record(count, record_bytes);
        if count > 0 && BATCH_HEADER_BYTES + records.len() + record.len() > bytes_max {
            break;
        }
        records.put_slice(&record);
        count += 1;
    }
    let mut checked = BytesMut::new();
    checked.put_i16(0);
    checked.put_i32(count as i32 - 1);
    checked.put_i64(timestamp);
    checked.put_i64(timestamp);
    checked.put_i64(-1);
    checked.put_i16(-1);
    checked.put_i32(-1);
    checked.put_i32(count as i32);
    checked.put_slice(&records);
    let mut batch = BytesMut::new();
    batch.put_i64(0);
    batch.put_i32((checked.len() + 9) as i32);
    batch.put_i32(-1);
    batch.put_u8(2);
    batch.put_u32(crc32c::crc32c(&checked));
    batch.put_slice(&checked);
    (batch.freeze(), count)
}

/// One record without key and headers; its value looks random so that no layer below compresses it.
fn record(index: usize, value_bytes: usize) -> Vec<u8> {
    let mut body = vec![0];
    varint(&mut body, 0);
    varint(&mut body, index as i64);
    varint(&mut body, -1);
    varint(&mut body, value_bytes as i64);
    let mut state = index as u64 ^ 0x9e37_79b9_7f4a_7c15;
    body.extend((0..value_bytes).map(|_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    }));
    varint(&mut body, 0);
    let mut record = Vec::new();
    varint(&mut record, body.len() as i64);
    record.extend(body);
    record
}

/// Zig-zag, seven bits a byte.
fn varint(into: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        into.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    into.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use millstream_net::wire::{Request, decode_request};

    #[test]
    fn a_numbered_frame_is_a_request_with_those_numbers() {
        let template = Template::new("words", -1, 4096, 100);
        let mut frame = template.repeat(2);
        let length = template.frame_bytes();
        template.number(&mut frame[length..], 77, 5);
        let (header, request) =
            decode_request(&Bytes::copy_from_slice(&frame[length + 4..])).unwrap();
        assert_eq!(header.correlation_id, 77);
        let Request::Produce(request) = request else {
            panic!("{request:?}")
        };
        assert_eq!(request.topics[0].partitions[0].index, 5);
        let batch = request.topics[0].partitions[0].records.clone().unwrap();
        assert_eq!(batch.len(), template.batch_bytes);
        assert!(
            batch.len() <= 4096 && template.records > 30,
            "{} records",
            template.records
        );
        assert_eq!(
            u32::from_be_bytes(batch[17..21].try_into().unwrap()),
            crc32c::crc32c(&batch[21..])
        );
    }

    #[test]
    fn a_record_larger_than_the_batch_is_sent_alone() {
        assert_eq!(Template::new("t", 1, 200, 1024).records, 1);
    }
}
