//! What reading and writing a request allocates: by its topics and partitions, never by the bytes and records that it carries.
//!
//! A binary of its own, because it counts with an allocator of its own.

use allocation_counter::measure;
use bytes::Bytes;
use millstream_net::wire::api::*;
use millstream_net::wire::{Records, Str, decode_request, encode_request, encode_response};

const PRODUCE_VERSION: i16 = 8;
const FETCH_VERSION: i16 = 11;
const SIZES: [usize; 4] = [200, 1 << 10, 64 << 10, 1 << 20];

fn all_the_same(counts: &[u64]) {
    assert!(counts.iter().all(|count| *count == counts[0]), "{counts:?}");
}

#[test]
fn reading_a_batch_allocates_nothing_by_its_size() {
    let counts = SIZES.map(|bytes| {
        let request = ProduceRequest {
            topics: vec![ProduceTopic {
                name: Str::from("orders"),
                partitions: vec![ProducePartition {
                    index: 3,
                    records: Some(vec![7; bytes].into()),
                }],
                ..ProduceTopic::default()
            }],
            ..ProduceRequest::default()
        };
        let frame = encode_request(PRODUCE_VERSION, 1, None, &request.into()).concat();
        let frame = Bytes::from(frame).slice(4..);
        let counted = measure(|| {
            decode_request(&frame).expect("a good request");
        });
        // What it does allocate is small: the records are a part of the frame.
        assert!(counted.bytes_total < 1024, "{counted:?}");
        counted.count_total
    });
    all_the_same(&counts);
}

#[test]
fn writing_fetched_batches_copies_none_of_them() {
    // What is smaller goes with the fields around it.
    let counts = [4 << 10, 64 << 10, 1 << 20].map(|bytes| {
        let response = FetchResponse {
            responses: vec![FetchTopicResponse {
                topic: Str::from("orders"),
                partitions: vec![FetchPartitionResponse {
                    records: Some(Records(vec![Bytes::from(vec![7; bytes]); 4])),
                    ..FetchPartitionResponse::default()
                }],
                ..FetchTopicResponse::default()
            }],
            ..FetchResponse::default()
        };
        let response = response.into();
        let counted = measure(|| {
            encode_response(FETCH_VERSION, 1, &response);
        });
        assert!(counted.bytes_total < 4096, "{counted:?}");
        counted.count_total
    });
    all_the_same(&counts);
}
