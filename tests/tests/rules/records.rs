//! DeleteRecords and DescribeProducers: rule O5 and the end of T8.

use millstream_net::wire::ErrorCode;
use millstream_net::wire::api::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic, DescribeProducersRequest,
    DescribeProducersTopic,
};
use millstream_tests::sim::broker::{Broker, EPOCH_MS, values};
use millstream_tests::wire;

fn deletion(topic: &str, partitions: &[(i32, i64)]) -> DeleteRecordsRequest {
    let partition = |(index, offset): &(i32, i64)| DeleteRecordsPartition {
        partition_index: *index,
        offset: *offset,
    };
    DeleteRecordsRequest {
        topics: vec![DeleteRecordsTopic {
            name: topic.into(),
            partitions: partitions.iter().map(partition).collect(),
        }],
        timeout_ms: 10_000,
    }
}

/// Codes and low watermarks.
fn delete(
    broker: &mut Broker,
    version: i16,
    topic: &str,
    partitions: &[(i32, i64)],
) -> Vec<(ErrorCode, i64)> {
    let mut response = broker.call(version, &deletion(topic, partitions));
    let partitions = response.topics.remove(0).partitions;
    partitions
        .iter()
        .map(|one| (one.error_code, one.low_watermark))
        .collect()
}

fn earliest(broker: &mut Broker, topic: &str) -> i64 {
    let told = broker.list_offsets(5, &wire::list_offsets(topic, 0, -2));
    assert_eq!(told.error_code, ErrorCode::None);
    told.offset
}

#[test]
fn o5_what_is_deleted_is_gone_at_once_and_after_a_restart() {
    let mut broker = Broker::default();
    broker.create("t", 2, &[]);
    for _ in 0..5 {
        broker.append("t", 0, &["a", "b"]);
        broker.append("t", 1, &["c"]);
    }
    for (version, offset) in [(0, 2), (1, 4), (2, 6)] {
        let told = delete(&mut broker, version, "t", &[(0, offset), (1, 0)]);
        assert_eq!(told, [(ErrorCode::None, offset), (ErrorCode::None, 0)]);
        assert_eq!(earliest(&mut broker, "t"), offset);
        let gone = broker.fetch(11, &wire::fetch("t", 0, offset - 1));
        assert_eq!(gone.error_code, ErrorCode::OffsetOutOfRange);
        let kept = broker.fetch(11, &wire::fetch("t", 0, offset));
        assert_eq!(kept.error_code, ErrorCode::None);
        assert_eq!((kept.log_start_offset, kept.high_watermark), (offset, 10));
        assert_eq!(values(&kept)[0].0, offset);
    }
    let mut broker = broker.restart();
    assert_eq!(earliest(&mut broker, "t"), 6);
    let gone = broker.fetch(11, &wire::fetch("t", 0, 5));
    assert_eq!(gone.error_code, ErrorCode::OffsetOutOfRange);
    let produced = broker.produce(9, &wire::produce(-1, "t", 0, wire::batch(EPOCH_MS, &["d"])));
    assert_eq!((produced.base_offset, produced.log_start_offset), (10, 6));
}

#[test]
fn o5_minus_one_is_the_high_watermark_and_a_start_never_goes_back() {
    let mut broker = Broker::default();
    broker.create("t", 1, &[]);
    broker.append("t", 0, &["a", "b", "c"]);
    assert_eq!(
        delete(&mut broker, 2, "t", &[(0, -1)]),
        [(ErrorCode::None, 3)]
    );
    assert_eq!(
        delete(&mut broker, 2, "t", &[(0, 1)]),
        [(ErrorCode::None, 3)]
    );
    let empty = broker.fetch(11, &wire::fetch("t", 0, 3));
    assert_eq!(
        (empty.error_code, values(&empty).len()),
        (ErrorCode::None, 0)
    );
    assert_eq!(broker.append("t", 0, &["d"]), 3);
    let kept = broker.fetch(11, &wire::fetch("t", 0, 3));
    assert_eq!(values(&kept), [(3, "d".to_owned())]);
    let mut broker = broker.restart();
    assert_eq!(earliest(&mut broker, "t"), 3);
    assert_eq!(
        delete(&mut broker, 2, "t", &[(0, -1)]),
        [(ErrorCode::None, 4)]
    );
    let mut broker = broker.restart();
    assert_eq!(earliest(&mut broker, "t"), 4);
    assert_eq!(broker.append("t", 0, &["e"]), 4);
}

#[test]
fn o5_a_deletion_within_a_batch_keeps_the_rest_of_it() {
    let mut broker = Broker::default();
    broker.create("t", 1, &[]);
    broker.append("t", 0, &["a", "b", "c"]);
    assert_eq!(
        delete(&mut broker, 2, "t", &[(0, 1)]),
        [(ErrorCode::None, 1)]
    );
    for _ in 0..2 {
        let gone = broker.fetch(11, &wire::fetch("t", 0, 0));
        assert_eq!(gone.error_code, ErrorCode::OffsetOutOfRange);
        // Rule F2: the whole batch comes, the reader skips what is below.
        let kept = broker.fetch(11, &wire::fetch("t", 0, 1));
        assert_eq!(values(&kept).last(), Some(&(2, "c".to_owned())));
        broker = broker.restart();
    }
}

#[test]
fn o5_refusals_are_per_partition() {
    let mut broker = Broker::default();
    broker.create("t", 2, &[]);
    broker.create("compacted", 1, &[("cleanup.policy", "compact")]);
    broker.create("both", 1, &[("cleanup.policy", "compact,delete")]);
    broker.create("neither", 1, &[("cleanup.policy", "")]);
    for name in ["t", "both", "neither"] {
        broker.append(name, 0, &["a", "b"]);
    }
    let asked = [(0, 3), (0, -2), (7, 0), (-1, 0), (1, 0), (0, 1)];
    let expected = [
        (ErrorCode::OffsetOutOfRange, -1),
        (ErrorCode::OffsetOutOfRange, -1),
        (ErrorCode::UnknownTopicOrPartition, -1),
        (ErrorCode::UnknownTopicOrPartition, -1),
        (ErrorCode::None, 0),
        (ErrorCode::None, 1),
    ];
    assert_eq!(delete(&mut broker, 2, "t", &asked), expected);
    let cases = [
        ("compacted", (ErrorCode::PolicyViolation, -1)),
        ("both", (ErrorCode::None, 1)),
        ("neither", (ErrorCode::None, 1)),
        ("__consumer_offsets", (ErrorCode::InvalidTopicException, -1)),
        ("nobody", (ErrorCode::UnknownTopicOrPartition, -1)),
        ("bad name", (ErrorCode::UnknownTopicOrPartition, -1)),
    ];
    for (name, expected) in cases {
        assert_eq!(
            delete(&mut broker, 2, name, &[(0, 1)]),
            [expected],
            "{name}"
        );
    }
}

#[test]
fn o5_a_timeout_of_nothing_does_not_cut_short_what_the_leader_does_itself() {
    let mut broker = Broker::default();
    broker.create("t", 1, &[]);
    broker.append("t", 0, &["a"]);
    let request = DeleteRecordsRequest {
        timeout_ms: 0,
        ..deletion("t", &[(0, 1)])
    };
    let response = broker.call(2, &request);
    let told = &response.topics[0].partitions[0];
    assert_eq!((told.error_code, told.low_watermark), (ErrorCode::None, 1));
}

#[test]
fn o5_a_deletion_that_outlives_its_topic_is_answered() {
    let mut broker = Broker::default();
    broker.create("t", 2, &[]);
    broker.append("t", 0, &["a"]);
    broker.append("t", 1, &["a"]);
    let conn = broker.conn();
    let frame = wire::frame(2, 77, &deletion("t", &[(0, 1), (1, 1)]));
    broker.node.request(conn, frame);
    let request = millstream_net::wire::api::DeleteTopicsRequest {
        topic_names: vec!["t".into()],
        timeout_ms: 10_000,
        ..Default::default()
    };
    broker.node.request(conn, wire::frame(4, 78, &request));
    broker.node.settle();
    let told = broker.expect::<DeleteRecordsRequest>(conn, 2, 77);
    assert_eq!(told.topics[0].partitions.len(), 2);
    let told = broker.expect::<millstream_net::wire::api::DeleteTopicsRequest>(conn, 4, 78);
    assert_eq!(told.responses[0].error_code, ErrorCode::None);
}

#[test]
fn t8_the_leader_tells_its_producers() {
    let mut broker = Broker::default();
    broker.create("t", 2, &[]);
    for (producer, sequence, count) in [(7, 0, 2), (7, 2, 1), (9, 0, 1)] {
        let records: Vec<&str> = vec!["a"; count];
        let batch = wire::numbered_batch(producer, 3, sequence, EPOCH_MS + 5, &records);
        let told = broker.produce(9, &wire::produce(-1, "t", 1, batch));
        assert_eq!(told.error_code, ErrorCode::None);
    }
    for _ in 0..2 {
        let request = DescribeProducersRequest {
            topics: vec![
                DescribeProducersTopic {
                    name: "t".into(),
                    partition_indexes: vec![0, 1, 2],
                },
                DescribeProducersTopic {
                    name: "nobody".into(),
                    partition_indexes: vec![0],
                },
                DescribeProducersTopic {
                    name: "bad name".into(),
                    partition_indexes: vec![0],
                },
            ],
        };
        let told = broker.call(0, &request);
        let codes: Vec<Vec<_>> = told
            .topics
            .iter()
            .map(|topic| topic.partitions.iter().map(|one| one.error_code).collect())
            .collect();
        let expected = [
            vec![
                ErrorCode::None,
                ErrorCode::None,
                ErrorCode::UnknownTopicOrPartition,
            ],
            vec![ErrorCode::UnknownTopicOrPartition],
            vec![ErrorCode::InvalidTopicException],
        ];
        assert_eq!(codes, expected);
        assert!(told.topics[0].partitions[0].active_producers.is_empty());
        let active: Vec<_> = told.topics[0].partitions[1]
            .active_producers
            .iter()
            .map(|one| {
                assert_eq!(
                    (one.coordinator_epoch, one.current_txn_start_offset),
                    (-1, -1)
                );
                (
                    one.producer_id,
                    one.producer_epoch,
                    one.last_sequence,
                    one.last_timestamp,
                )
            })
            .collect();
        let expected = [(7, 3, 2, EPOCH_MS + 5), (9, 3, 0, EPOCH_MS + 5)];
        assert_eq!(active, expected);
        broker = broker.restart();
    }
}
