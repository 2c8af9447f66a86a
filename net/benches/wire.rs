//! What requests and answers cost to read and write, and what they allocate: `cargo bench -p millstream-net`. That allocations do
//! not grow with what is carried is a test (`tests/allocations.rs`).

use bytes::Bytes;
use divan::counter::BytesCount;
use divan::{AllocProfiler, Bencher, black_box};
use millstream_net::wire::api::*;
use millstream_net::wire::{
    ApiKey, Records, Str, decode_request, decode_response, encode_request, encode_response,
};

const PRODUCE_VERSION: i16 = 8;
const FETCH_VERSION: i16 = 11;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

fn request(version: i16, request: &millstream_net::wire::Request) -> Bytes {
    let client = Str::from("bench");
    let frame = encode_request(version, 1, Some(&client), request).concat();
    Bytes::from(frame).slice(4..)
}

fn produce(batch_bytes: usize) -> ProduceRequest {
    ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topics: vec![ProduceTopic {
            name: Str::from("orders"),
            partitions: vec![ProducePartition {
                index: 3,
                records: Some(vec![7; batch_bytes].into()),
            }],
            ..ProduceTopic::default()
        }],
        ..ProduceRequest::default()
    }
}

fn fetched(batches: usize) -> FetchResponse {
    let batch = Bytes::from(vec![7; 64 << 10]);
    FetchResponse {
        responses: vec![FetchTopicResponse {
            topic: Str::from("orders"),
            partitions: vec![FetchPartitionResponse {
                records: Some(Records(vec![batch; batches])),
                ..FetchPartitionResponse::default()
            }],
            ..FetchTopicResponse::default()
        }],
        ..FetchResponse::default()
    }
}

#[divan::bench(args = [200, 1 << 10, 64 << 10, 1 << 20])]
fn decode_produce(bencher: Bencher, batch_bytes: usize) {
    let frame = request(PRODUCE_VERSION, &produce(batch_bytes).into());
    bencher.bench_local(|| decode_request(black_box(&frame)).expect("a good request"));
}

#[divan::bench(args = [200, 1 << 10, 64 << 10])]
fn encode_produce(bencher: Bencher, batch_bytes: usize) {
    let client = Str::from("bench");
    let produce = produce(batch_bytes).into();
    bencher
        .counter(BytesCount::new(batch_bytes))
        .bench_local(|| encode_request(PRODUCE_VERSION, 1, Some(&client), black_box(&produce)));
}

#[divan::bench]
fn encode_produce_answer(bencher: Bencher) {
    let produced = ProduceResponse {
        responses: vec![ProduceTopicResponse {
            name: Str::from("orders"),
            partitions: vec![ProducePartitionResponse::default()],
            ..ProduceTopicResponse::default()
        }],
        ..ProduceResponse::default()
    };
    let produced = produced.into();
    bencher.bench_local(|| encode_response(PRODUCE_VERSION, 1, black_box(&produced)));
}

#[divan::bench(args = [1, 100])]
fn decode_fetch(bencher: Bencher, partitions: i32) {
    let fetch = FetchRequest {
        topics: vec![FetchTopic {
            topic: Str::from("orders"),
            partitions: (0..partitions)
                .map(|partition| FetchPartition {
                    partition,
                    partition_max_bytes: 1 << 20,
                    ..FetchPartition::default()
                })
                .collect(),
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    };
    let frame = request(FETCH_VERSION, &fetch.into());
    bencher.bench_local(|| decode_request(black_box(&frame)).expect("a good request"));
}

/// Of so many batches of 64 KiB, which are not copied.
#[divan::bench(args = [1, 16])]
fn encode_fetch_answer(bencher: Bencher, batches: usize) {
    let response = fetched(batches).into();
    bencher.bench_local(|| encode_response(FETCH_VERSION, 1, black_box(&response)));
}

#[divan::bench(args = [1, 16])]
fn decode_fetch_answer(bencher: Bencher, batches: usize) {
    let answer = encode_response(FETCH_VERSION, 1, &fetched(batches).into()).concat();
    let answer = Bytes::from(answer).slice(4..);
    bencher.bench_local(|| {
        decode_response(ApiKey::Fetch, FETCH_VERSION, black_box(&answer)).expect("a good answer")
    });
}
