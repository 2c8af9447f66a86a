//! Produce and idempotence: rules P1-P9.

use millstream_net::wire::api::{
    InitProducerIdRequest, ProducePartition, ProducePartitionResponse, ProduceRequest,
};
use millstream_net::wire::{ErrorCode, Str, Uuid, encode_request};
use millstream_storage::batch::BatchHeader;
use millstream_storage::ids::{ProducerEpoch, ProducerId};
use millstream_storage::sim::{Fault, OpKind};
use millstream_tests::sim::broker::{Broker, EPOCH_MS, values};
use millstream_tests::wire;

fn broker() -> Broker {
    let mut broker = Broker::default();
    broker.create("t", 2, &[]);
    broker
}

/// Appends one numbered batch and gives the answer.
fn numbered(
    broker: &mut Broker,
    id: i64,
    epoch: i16,
    first: i32,
    count: usize,
) -> ProducePartitionResponse {
    let values = vec!["v"; count];
    let batch = wire::numbered_batch(id, epoch, first, EPOCH_MS, &values);
    broker.produce(9, &wire::produce(-1, "t", 0, batch))
}

#[test]
fn p1_other_acks_than_0_1_and_minus_1_are_refused() {
    let mut broker = broker();
    for acks in [2, -2, i16::MAX] {
        let request = wire::produce(acks, "t", 0, wire::batch(EPOCH_MS, &["a"]));
        let response = broker.produce(8, &request);
        assert_eq!(response.error_code, ErrorCode::InvalidRequiredAcks);
        assert_eq!(response.base_offset, -1);
    }
    assert_eq!(broker.append("t", 0, &["a"]), 0, "nothing was appended");
}

#[test]
fn p1_acks_0_has_no_answer_at_all() {
    let mut broker = broker();
    let conn = broker.conn();
    for partition in 0..2 {
        let request = wire::produce(0, "t", partition, wire::batch(EPOCH_MS, &["a"]));
        broker.send(conn, 8, &request);
    }
    assert!(broker.next(conn).is_none());
    assert!(!broker.is_closed(conn));
    assert_eq!(broker.append("t", 0, &["b"]), 1);
    assert_eq!(broker.append("t", 1, &["b"]), 1);
}

#[test]
fn p1_acks_0_with_an_error_closes_the_connection() {
    let mut broker = broker();
    let conn = broker.connect(1);
    let request = wire::produce(0, "nobody", 0, wire::batch(EPOCH_MS, &["a"]));
    broker.send(conn, 8, &request);
    assert!(broker.next(conn).is_none());
    assert!(broker.is_closed(conn));
}

#[test]
fn p2_errors_are_per_partition_and_the_others_succeed() {
    let mut broker = broker();
    let mut request = wire::produce(-1, "t", 0, wire::batch(EPOCH_MS, &["a"]));
    for (index, records) in [
        (7, wire::batch(EPOCH_MS, &["a"])),
        (1, wire::batch(EPOCH_MS, &["b"])),
        (-1, wire::batch(EPOCH_MS, &["c"])),
    ] {
        request.topics[0].partitions.push(ProducePartition {
            index,
            records: Some(records),
        });
    }
    let response = broker.call(8, &request);
    let codes: Vec<_> = response.responses[0]
        .partitions
        .iter()
        .map(|partition| (partition.index, partition.error_code, partition.base_offset))
        .collect();
    assert_eq!(
        codes,
        [
            (0, ErrorCode::None, 0),
            (7, ErrorCode::UnknownTopicOrPartition, -1),
            (1, ErrorCode::None, 0),
            (-1, ErrorCode::UnknownTopicOrPartition, -1),
        ]
    );
}

#[test]
fn p2_topics_are_named_by_id_from_version_13_on() {
    let mut broker = broker();
    let known = broker.topic_id("t");
    for (id, partition, code) in [
        (known, 0, ErrorCode::None),
        (known, 9, ErrorCode::UnknownTopicOrPartition),
        (Uuid([7; 16]), 0, ErrorCode::UnknownTopicId),
        (Uuid::ZERO, 0, ErrorCode::UnknownTopicId),
    ] {
        let mut request = wire::produce(-1, "t", partition, wire::batch(EPOCH_MS, &["a"]));
        request.topics[0].topic_id = id;
        let response = broker.call(13, &request);
        assert_eq!(response.responses[0].topic_id, id);
        let answer = &response.responses[0].partitions[0];
        assert_eq!(answer.error_code, code, "{id:?} {partition}");
        // Version 12 still goes by the name.
        let found = broker.produce(12, &request).error_code;
        assert_eq!(found == ErrorCode::None, partition == 0);
    }
}

#[test]
fn p4_every_version_answers_with_offset_time_and_log_start() {
    let mut broker = broker();
    for version in 3..=13 {
        let batch = wire::batch(EPOCH_MS, &["a"]);
        let request = broker.with_ids(wire::produce(-1, "t", 0, batch));
        let answer = broker.produce(version, &request);
        assert_eq!(answer.error_code, ErrorCode::None, "{version}");
        assert_eq!(answer.base_offset, i64::from(version) - 3);
        assert_eq!(answer.log_append_time_ms, -1);
        let log_start = if version >= 5 { 0 } else { -1 };
        assert_eq!(answer.log_start_offset, log_start);
        assert!(answer.record_errors.is_empty() && answer.error_message.is_none());
    }
}

#[test]
fn p2_internal_topics_are_for_the_admin_client() {
    let mut broker = broker();
    broker.create("__consumer_offsets", 1, &[]);
    let request = wire::produce(-1, "__consumer_offsets", 0, wire::batch(EPOCH_MS, &["a"]));
    let response = broker.produce(8, &request);
    assert_eq!(response.error_code, ErrorCode::InvalidTopicException);
}

#[test]
fn p2_the_admin_client_may_write_to_internal_topics() {
    let mut broker = broker();
    broker.create("__consumer_offsets", 1, &[]);
    let batch = wire::batch(EPOCH_MS, &["a"]);
    let request = wire::produce(-1, "__consumer_offsets", 0, batch);
    let client = Str::from_static("__admin_client");
    let parts = encode_request(8, 77, Some(&client), &request.into());
    let conn = broker.conn();
    broker.send_bytes(conn, &parts.concat()[4..]);
    let response = broker.expect::<ProduceRequest>(conn, 8, 77);
    let answer = &response.responses[0].partitions[0];
    assert_eq!(answer.error_code, ErrorCode::None);
}

#[test]
fn p10_transactional_batches_are_refused_and_hold_up_no_reader() {
    let mut broker = broker();
    broker.append("t", 0, &["a"]);
    let header = BatchHeader {
        producer_id: ProducerId(1),
        producer_epoch: ProducerEpoch(0),
        base_sequence: 0,
        transactional: true,
        ..BatchHeader::default()
    };
    for id in [None, Some("transactions")] {
        let batch = wire::batch_of(header, EPOCH_MS, &["b"]);
        let mut request = wire::produce(-1, "t", 0, batch);
        request.transactional_id = id.map(Str::from);
        let conn = broker.connect(0);
        let sent = broker.send(conn, 9, &request);
        // Nobody answers for a transaction: the wait for a coordinator ends.
        broker.node.run_ms(60_000);
        let response = broker.expect::<ProduceRequest>(conn, 9, sent);
        let answer = &response.responses[0].partitions[0];
        assert_ne!(answer.error_code, ErrorCode::None, "{id:?}");
        assert_eq!(answer.base_offset, -1);
    }
    let latest = wire::list_offsets("t", 0, -1);
    let committed = millstream_net::wire::api::ListOffsetsRequest {
        isolation_level: 1,
        ..latest.clone()
    };
    assert_eq!(broker.list_offsets(5, &latest).offset, 1);
    assert_eq!(broker.list_offsets(5, &committed).offset, 1);
}

#[test]
fn p3_p4_success_is_durable_and_carries_offset_and_log_start() {
    let mut broker = broker();
    assert_eq!(broker.append("t", 0, &["a", "b"]), 0);
    let request = wire::produce(1, "t", 0, wire::batch(EPOCH_MS, &["c"]));
    let response = broker.produce(5, &request);
    assert_eq!(response.base_offset, 2);
    assert_eq!(response.log_append_time_ms, -1);
    assert_eq!(response.log_start_offset, 0);
    let mut broker = broker.restart();
    let answer = broker.fetch(11, &wire::fetch("t", 0, 0));
    let expected = ["a", "b", "c"].map(str::to_owned).into_iter();
    let found: Vec<_> = values(&answer)
        .into_iter()
        .map(|(_, value)| value)
        .collect();
    assert_eq!(found, expected.collect::<Vec<_>>());
}

#[test]
fn p3_fewer_in_sync_than_min_insync_replicas_counts_only_up_to_the_replicas() {
    let mut broker = Broker::default();
    broker.create("t", 1, &[("min.insync.replicas", "2")]);
    // min ISR = min(min.insync.replicas, replicas): one replica satisfies itself.
    assert_eq!(broker.append("t", 0, &["a"]), 0);
}

#[test]
fn p6_a_producer_id_without_transactional_id_is_fresh_and_never_given_again() {
    let mut broker = broker();
    let mut seen = std::collections::BTreeSet::new();
    for start in 0..3 {
        let conns = [broker.conn(), broker.connect(1)];
        for conn in conns {
            for version in 0..=5 {
                let request = InitProducerIdRequest {
                    // The former id of the producer does not matter.
                    producer_id: if version >= 3 { 5 } else { -1 },
                    producer_epoch: if version >= 3 { 3 } else { -1 },
                    ..InitProducerIdRequest::default()
                };
                let id = broker.send(conn, version, &request);
                let response = broker.expect::<InitProducerIdRequest>(conn, version, id);
                assert_eq!(response.error_code, ErrorCode::None);
                assert_eq!(response.producer_epoch, 0);
                assert!(seen.insert(response.producer_id), "start {start}");
            }
        }
        broker = broker.restart();
    }
}

#[test]
fn p6_an_empty_transactional_id_and_half_an_identity_are_invalid() {
    let mut broker = broker();
    let conn = broker.conn();
    let half = InitProducerIdRequest {
        producer_id: 5,
        ..InitProducerIdRequest::default()
    };
    let empty = InitProducerIdRequest {
        transactional_id: Some("".into()),
        ..InitProducerIdRequest::default()
    };
    for (version, request) in [(3, &half), (5, &half), (0, &empty), (5, &empty)] {
        let id = broker.send(conn, version, request);
        let response = broker.expect::<InitProducerIdRequest>(conn, version, id);
        assert_eq!(response.error_code, ErrorCode::InvalidRequest);
        assert_eq!((response.producer_id, response.producer_epoch), (-1, -1));
    }
}

#[test]
fn p7_a_repeated_batch_is_answered_with_its_first_offset() {
    let mut broker = broker();
    for (first, offset) in [(0, 0), (2, 2), (4, 4), (6, 6), (8, 8), (10, 10)] {
        let response = numbered(&mut broker, 1, 0, first, 2);
        assert_eq!(
            (response.error_code, response.base_offset),
            (ErrorCode::None, offset)
        );
    }
    // The last five are remembered.
    for (first, offset) in [(2, 2), (4, 4), (6, 6), (8, 8), (10, 10)] {
        let response = numbered(&mut broker, 1, 0, first, 2);
        assert_eq!(
            (response.error_code, response.base_offset),
            (ErrorCode::None, offset)
        );
    }
    let latest = broker.list_offsets(5, &wire::list_offsets("t", 0, -1));
    assert_eq!(latest.offset, 12, "nothing was appended twice");
    let older = numbered(&mut broker, 1, 0, 0, 2);
    assert_eq!(older.error_code, ErrorCode::OutOfOrderSequenceNumber);
}

#[test]
fn p7_a_repeated_batch_is_answered_with_its_first_timestamp() {
    let mut broker = Broker::default();
    let configs = [("message.timestamp.type", "LogAppendTime")];
    broker.create("t", 1, &configs);
    let first = numbered(&mut broker, 1, 0, 0, 2);
    broker.node.pass_ms(5000);
    let again = numbered(&mut broker, 1, 0, 0, 2);
    assert_eq!(again.log_append_time_ms, first.log_append_time_ms);
    let next = numbered(&mut broker, 1, 0, 2, 2);
    assert_eq!(next.log_append_time_ms, first.log_append_time_ms + 5000);
}

#[test]
fn p8_sequences_follow_each_other_and_epochs_fence() {
    let mut broker = broker();
    // (producer, epoch, first sequence, records, code)
    let cases = [
        (1, 0, 0, 2, ErrorCode::None),
        (1, 0, 3, 1, ErrorCode::OutOfOrderSequenceNumber),
        (1, 0, 2, 1, ErrorCode::None),
        (1, 1, 5, 1, ErrorCode::OutOfOrderSequenceNumber),
        (1, 1, 0, 1, ErrorCode::None),
        (1, 0, 3, 1, ErrorCode::InvalidProducerEpoch),
        // No state for the id: any sequence.
        (2, 0, 77, 1, ErrorCode::None),
        (3, 0, i32::MAX, 1, ErrorCode::None),
        (3, 0, 0, 1, ErrorCode::None),
        (4, 0, i32::MAX - 1, 4, ErrorCode::None),
        (4, 0, 2, 1, ErrorCode::None),
    ];
    for (id, epoch, first, count, expected) in cases {
        let response = numbered(&mut broker, id, epoch, first, count);
        assert_eq!(
            response.error_code, expected,
            "{id} {epoch} {first} {count}"
        );
    }
}

#[test]
fn p9_sequences_survive_a_restart() {
    let mut broker = broker();
    for first in 0..8 {
        numbered(&mut broker, 1, 0, first, 1);
    }
    for _ in 0..2 {
        broker = broker.restart();
        let repeated = numbered(&mut broker, 1, 0, 7, 1);
        assert_eq!(
            (repeated.error_code, repeated.base_offset),
            (ErrorCode::None, 7)
        );
        let skipped = numbered(&mut broker, 1, 0, 9, 1);
        assert_eq!(skipped.error_code, ErrorCode::OutOfOrderSequenceNumber);
    }
    let next = numbered(&mut broker, 1, 0, 8, 1);
    assert_eq!((next.error_code, next.base_offset), (ErrorCode::None, 8));
}

#[test]
fn p9_what_follows_a_failed_batch_of_its_producer_is_not_appended() {
    let mut broker = broker();
    numbered(&mut broker, 1, 0, 0, 1);
    let conn = broker.conn();
    // Sequence 1 is refused for its size; 2 and 3 were already on their way.
    let large = "x".repeat(2_000_000);
    let batches = [
        wire::numbered_batch(1, 0, 1, EPOCH_MS, &[&large]),
        wire::numbered_batch(1, 0, 2, EPOCH_MS, &["c"]),
        wire::numbered_batch(1, 0, 3, EPOCH_MS, &["d"]),
    ];
    let ids = batches.map(|batch| broker.send(conn, 9, &wire::produce(-1, "t", 0, batch)));
    let expected = [
        ErrorCode::MessageTooLarge,
        ErrorCode::OutOfOrderSequenceNumber,
        ErrorCode::OutOfOrderSequenceNumber,
    ];
    for (id, expected) in ids.into_iter().zip(expected) {
        let response = broker.expect::<ProduceRequest>(conn, 9, id);
        assert_eq!(response.responses[0].partitions[0].error_code, expected);
    }
    let latest = broker.list_offsets(5, &wire::list_offsets("t", 0, -1));
    assert_eq!(latest.offset, 1);
}

#[test]
fn a_failed_write_of_the_log_ends_the_process_and_answers_nothing() {
    let mut broker = broker();
    broker.node.disk_mut().inject(Fault {
        kind: OpKind::SyncedWrite,
        after: 0,
        errno: 5,
    });
    let conn = broker.conn();
    let request = wire::produce(-1, "t", 0, wire::batch(EPOCH_MS, &["a"]));
    broker.send(conn, 9, &request);
    assert!(broker.node.fatal().is_some());
    assert!(broker.next(conn).is_none());
}

#[test]
fn a_full_disk_refuses_with_56_assigns_nothing_still_serves_reads_and_heals() {
    let mut broker = broker();
    let value = "x".repeat(50_000);
    let before = broker.append("t", 0, &[&value]);
    let full = broker.node.disk_bytes() + (1 << 20);
    broker.node.disk_mut().limit_capacity(Some(full));
    let conn = broker.connect(0);
    let mut end = before + 1;
    let mut refused = 0;
    for _ in 0..400 {
        let batch = wire::batch(EPOCH_MS, &[&value]);
        let id = broker.send(conn, 9, &wire::produce(-1, "t", 0, batch));
        broker.node.run_ms(1_500);
        let response = broker.expect::<ProduceRequest>(conn, 9, id);
        let answer = &response.responses[0].partitions[0];
        match answer.error_code {
            ErrorCode::None => end = answer.base_offset + 1,
            code => {
                assert_eq!(code, ErrorCode::KafkaStorageError);
                assert_eq!(answer.base_offset, -1);
                refused += 1;
            }
        }
        if refused > 3 {
            break;
        }
    }
    assert!(refused > 3, "the disk does not get full");
    assert_eq!(broker.node.fatal(), None);
    let latest = broker.list_offsets(5, &wire::list_offsets("t", 0, -1));
    assert_eq!(latest.offset, end, "nothing was assigned");
    let answer = broker.fetch(11, &wire::fetch("t", 0, end - 1));
    assert_eq!(values(&answer).len(), 1, "reads go on");
    let id = broker.send(
        conn,
        4,
        &millstream_net::wire::api::DeleteTopicsRequest {
            topic_names: vec!["t".into()],
            timeout_ms: 5_000,
            ..Default::default()
        },
    );
    broker.node.run_ms(6_000);
    let deleted = broker.expect::<millstream_net::wire::api::DeleteTopicsRequest>(conn, 4, id);
    assert_eq!(
        deleted.responses[0].error_code,
        ErrorCode::None,
        "a full node still deletes"
    );
    broker.node.disk_mut().limit_capacity(None);
    broker.node.run_ms(10_000);
    broker.create("u", 1, &[]);
    assert_eq!(broker.append("u", 0, &["a"]), 0, "it heals");
}
