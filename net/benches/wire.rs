//! What requests and answers cost to read and write: `cargo bench -p millstream-net`. Plain timing, best of several rounds.
//!
//! Also counts allocations, and fails where they grow with the number of records: they may only come once per request.

use bytes::Bytes;
use millstream_net::wire::api::*;
use millstream_net::wire::{
    Records, Str, decode_request, decode_response, encode_request, encode_response,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

const ROUNDS: usize = 30;
const CALLS: usize = 20_000;
const PRODUCE_VERSION: i16 = 8;
const FETCH_VERSION: i16 = 11;

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's layout, as it is.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: memory of `alloc`, with its layout.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Tells the nanoseconds of one call, the best of several rounds, and its allocations, which it gives back.
fn tell(name: &str, mut call: impl FnMut()) -> u64 {
    call();
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    call();
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
    let round = |_| {
        let begin = Instant::now();
        (0..CALLS).for_each(|_| call());
        begin.elapsed().as_nanos() as f64 / CALLS as f64
    };
    let best = (0..ROUNDS).map(round).fold(f64::INFINITY, f64::min);
    println!("{name:<44} {best:>8.0} ns, {allocations} allocations");
    allocations
}

fn produce(batch_bytes: usize) -> Bytes {
    let request = ProduceRequest {
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
    };
    let client = Str::from("bench");
    let frame = encode_request(PRODUCE_VERSION, 1, Some(&client), &request.into()).concat();
    Bytes::from(frame).slice(4..)
}

fn fetch(partitions: i32) -> Bytes {
    let request = FetchRequest {
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
    let client = Str::from("bench");
    let frame = encode_request(FETCH_VERSION, 1, Some(&client), &request.into()).concat();
    Bytes::from(frame).slice(4..)
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

fn main() {
    let decoded = [200, 1 << 10, 64 << 10, 1 << 20].map(|bytes| {
        let frame = produce(bytes);
        tell(&format!("decode Produce of {bytes} B"), || {
            black_box(decode_request(black_box(&frame)).expect("a good request"));
        })
    });
    assert!(
        decoded.iter().all(|count| *count == decoded[0]),
        "reading a batch allocates by its size: {decoded:?}"
    );
    for partitions in [1, 100] {
        let frame = fetch(partitions);
        tell(&format!("decode Fetch of {partitions} partitions"), || {
            black_box(decode_request(black_box(&frame)).expect("a good request"));
        });
    }
    let produced = ProduceResponse {
        responses: vec![ProduceTopicResponse {
            name: Str::from("orders"),
            partitions: vec![ProducePartitionResponse::default()],
            ..ProduceTopicResponse::default()
        }],
        ..ProduceResponse::default()
    };
    let produced = produced.into();
    tell("encode the answer to Produce", || {
        black_box(encode_response(PRODUCE_VERSION, 1, black_box(&produced)));
    });
    for batches in [1, 16] {
        let response = fetched(batches).into();
        tell(
            &format!("encode an answer to Fetch of {batches} x 64 KiB"),
            || {
                black_box(encode_response(FETCH_VERSION, 1, black_box(&response)));
            },
        );
    }
    let answer = encode_response(FETCH_VERSION, 1, &fetched(16).into()).concat();
    let answer = Bytes::from(answer).slice(4..);
    tell("decode an answer to Fetch of 1 MiB", || {
        let key = millstream_net::wire::ApiKey::Fetch;
        black_box(decode_response(key, FETCH_VERSION, black_box(&answer)).expect("a good answer"));
    });
}
