//! Frames as a client sends and reads them.
//!
//! Always: a request is built byte by byte as the protocol says, without any state of a connection.

use bytes::{Bytes, BytesMut};
use millstream_net::wire::api::{
    FetchPartition, FetchRequest, FetchTopic, ListOffsetsPartition, ListOffsetsRequest,
    ListOffsetsTopic, MetadataRequest, MetadataRequestTopic, OffsetForLeaderEpochRequest,
    OffsetForLeaderPartition, OffsetForLeaderTopic, ProducePartition, ProduceRequest, ProduceTopic,
};
use millstream_net::wire::{Call, Str, decode_response, encode_request};
use millstream_storage::batch::{BatchBuilder, BatchHeader, OpenBatch, check};
use millstream_storage::ids::{ProducerEpoch, ProducerId};

/// The frame of a request without its length prefix, as a shell hands it to a core.
pub fn frame<C: Call + Clone>(version: i16, correlation_id: i32, request: &C) -> Bytes {
    let client = Str::from_static("test");
    let parts = encode_request(
        version,
        correlation_id,
        Some(&client),
        &request.clone().into(),
    );
    let mut whole = BytesMut::new();
    for part in parts {
        whole.extend_from_slice(&part);
    }
    whole.freeze().slice(4..)
}

/// Reads an answer from a frame without its length prefix.
///
/// Panics where the frame is no such answer.
pub fn answer<C: Call>(version: i16, frame: &Bytes) -> (i32, C::Response) {
    let (correlation_id, response) = decode_response(C::KEY, version, frame)
        .expect("the broker's answer has the form of its version");
    let response = C::response(response).expect("it was read as an answer of this API");
    (correlation_id, response)
}

/// Takes the first whole frame out of a stream of bytes.
pub fn next_frame(stream: &mut BytesMut) -> Option<Bytes> {
    let prefix: [u8; 4] = stream.get(..4)?.try_into().ok()?;
    let length = u32::from_be_bytes(prefix) as usize;
    if stream.len() < 4 + length {
        return None;
    }
    let mut frame = stream.split_to(4 + length);
    Some(frame.split_off(4).freeze())
}

/// A batch of records with these values, created at `timestamp` (ms).
pub fn batch(timestamp: i64, values: &[&str]) -> Bytes {
    batch_of(BatchHeader::default(), timestamp, values)
}

/// A batch of an idempotent producer.
pub fn numbered_batch(
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
    timestamp: i64,
    values: &[&str],
) -> Bytes {
    let header = BatchHeader {
        producer_id: ProducerId(producer_id),
        producer_epoch: ProducerEpoch(producer_epoch),
        base_sequence,
        ..BatchHeader::default()
    };
    batch_of(header, timestamp, values)
}

/// A batch with this header.
pub fn batch_of(header: BatchHeader, timestamp: i64, values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new(header);
    for value in values {
        builder.push(timestamp, Some(b"key"), Some(value.as_bytes()), &[]);
    }
    builder.finish()
}

/// A Produce request for one partition.
pub fn produce(acks: i16, topic: &str, partition: i32, records: Bytes) -> ProduceRequest {
    ProduceRequest {
        transactional_id: None,
        acks,
        timeout_ms: 30_000,
        topics: vec![ProduceTopic {
            name: topic.into(),
            partitions: vec![ProducePartition {
                index: partition,
                records: Some(records),
            }],
            ..ProduceTopic::default()
        }],
    }
}

/// A Fetch request for one partition, from an offset.
pub fn fetch(topic: &str, partition: i32, offset: i64) -> FetchRequest {
    FetchRequest {
        max_wait_ms: 0,
        min_bytes: 1,
        max_bytes: 1 << 20,
        topics: vec![FetchTopic {
            topic: topic.into(),
            partitions: vec![FetchPartition {
                partition,
                fetch_offset: offset,
                partition_max_bytes: 1 << 20,
                ..FetchPartition::default()
            }],
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    }
}

/// A ListOffsets request for one partition.
pub fn list_offsets(topic: &str, partition: i32, timestamp: i64) -> ListOffsetsRequest {
    ListOffsetsRequest {
        topics: vec![ListOffsetsTopic {
            name: topic.into(),
            partitions: vec![ListOffsetsPartition {
                partition_index: partition,
                timestamp,
                ..ListOffsetsPartition::default()
            }],
        }],
        ..ListOffsetsRequest::default()
    }
}

/// An OffsetForLeaderEpoch request for one partition.
pub fn epoch_end(topic: &str, partition: i32, leader_epoch: i32) -> OffsetForLeaderEpochRequest {
    OffsetForLeaderEpochRequest {
        topics: vec![OffsetForLeaderTopic {
            topic: topic.into(),
            partitions: vec![OffsetForLeaderPartition {
                partition,
                leader_epoch,
                ..OffsetForLeaderPartition::default()
            }],
        }],
        ..OffsetForLeaderEpochRequest::default()
    }
}

/// A Metadata request for these topics.
pub fn metadata(topics: &[&str]) -> MetadataRequest {
    let topics = topics.iter().map(|name| MetadataRequestTopic {
        name: Some((*name).into()),
        ..MetadataRequestTopic::default()
    });
    MetadataRequest {
        topics: Some(topics.collect()),
        ..MetadataRequest::default()
    }
}

/// Offset and value of every record in these slices of whole batches.
pub fn values(slices: &[Bytes]) -> Vec<(i64, String)> {
    let mut whole = BytesMut::new();
    for slice in slices {
        whole.extend_from_slice(slice);
    }
    let mut values = Vec::new();
    let mut rest: &[u8] = &whole;
    while !rest.is_empty() {
        let head = check(rest).expect("the broker returns whole batches that check");
        let batch = OpenBatch::new(rest, 1 << 26).expect("they can be opened");
        for record in batch.records() {
            let record = record.expect("their records are well formed");
            let value = String::from_utf8_lossy(record.value.unwrap_or_default());
            values.push((record.offset.0, value.into_owned()));
        }
        rest = &rest[head.bytes..];
    }
    values
}
