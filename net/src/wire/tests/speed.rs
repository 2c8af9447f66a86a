//! How fast frames are read and written: `cargo test --release -p millstream-net speed -- --ignored --nocapture`.

use std::hint::black_box;
use std::time::Instant;

use ::bytes::Bytes;

use super::bytes::joined;
use crate::wire::api::*;
use crate::wire::{Records, Response, decode_request, encode_request, encode_response};

const BATCHES: u32 = 200;
const ROUNDS: u32 = 1_000;

/// The best of many batches of rounds: what else runs on the machine only makes a batch slower.
fn measure(what: &str, mut work: impl FnMut()) {
    let batches = (0..BATCHES).map(|_| {
        let started = Instant::now();
        for _ in 0..ROUNDS {
            work();
        }
        started.elapsed().as_nanos() / u128::from(ROUNDS)
    });
    println!("{what}: {} ns", batches.min().unwrap_or_default());
}

#[test]
#[ignore = "a measurement"]
fn speed_of_produce_and_fetch() {
    for partition_count in [1, 8] {
        let records = Bytes::from(vec![0; 64 << 10]);
        let partitions = (0..partition_count)
            .map(|index| ProducePartition {
                index,
                records: Some(records.clone()),
            })
            .collect();
        let topic = ProduceTopic {
            name: "topic".into(),
            partitions,
            ..Default::default()
        };
        let request = ProduceRequest {
            acks: -1,
            topics: vec![topic],
            ..Default::default()
        };
        let frame = joined(&encode_request(9, 1, None, &request.into()));
        measure(
            &format!("Produce 9 with {partition_count} batches is read in"),
            || {
                black_box(decode_request(black_box(&frame)).unwrap());
            },
        );

        let partitions = (0..partition_count)
            .map(|index| ProducePartitionResponse {
                index,
                base_offset: 7,
                ..Default::default()
            })
            .collect();
        let topic = ProduceTopicResponse {
            name: "topic".into(),
            partitions,
            ..Default::default()
        };
        let response: Response = ProduceResponse {
            responses: vec![topic],
            ..Default::default()
        }
        .into();
        measure("  and its answer written in", || {
            black_box(encode_response(9, 1, black_box(&response)));
        });

        let partitions = (0..partition_count)
            .map(|partition_index| FetchPartitionResponse {
                partition_index,
                records: Some(Records(vec![records.clone()])),
                ..Default::default()
            })
            .collect();
        let topic = FetchTopicResponse {
            topic: "topic".into(),
            partitions,
            ..Default::default()
        };
        let response: Response = FetchResponse {
            responses: vec![topic],
            ..Default::default()
        }
        .into();
        measure("  and an answer to Fetch 11 with as many in", || {
            black_box(encode_response(11, 1, black_box(&response)));
        });
    }
}
