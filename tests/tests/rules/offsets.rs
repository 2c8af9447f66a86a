//! ListOffsets and OffsetForLeaderEpoch: rules O1-O4.

use bytes::BytesMut;
use millstream_net::wire::ErrorCode;
use millstream_net::wire::api::{ApiVersionsRequest, ListOffsetsPartition, ListOffsetsRequest};
use millstream_storage::batch::{BatchBuilder, BatchHeader, Compression};
use millstream_storage::ids::ShardIndex;
use millstream_tests::sim::broker::{Broker, EPOCH_MS};
use millstream_tests::wire;

fn broker() -> Broker {
    let mut broker = Broker::default();
    broker.create("t", 2, &[]);
    broker
}

#[test]
fn o1_latest_and_earliest() {
    let mut broker = broker();
    for partition in 0..2 {
        let mut ends = |timestamp| {
            let found = broker.list_offsets(5, &wire::list_offsets("t", partition, timestamp));
            assert_eq!((found.error_code, found.timestamp), (ErrorCode::None, -1));
            found.offset
        };
        assert_eq!((ends(-2), ends(-1)), (0, 0));
        broker.append("t", partition, &["a", "b", "c"]);
        let mut ends = |timestamp| {
            let found = broker.list_offsets(5, &wire::list_offsets("t", partition, timestamp));
            assert_eq!((found.error_code, found.timestamp), (ErrorCode::None, -1));
            found.offset
        };
        assert_eq!((ends(-2), ends(-1)), (0, 3));
    }
}

#[test]
fn o1_special_values_of_newer_versions_are_unsupported() {
    let mut broker = broker();
    // (value, first version that has it)
    let values = [
        (-3, 7),
        (-4, 8),
        (-5, 9),
        (-6, 11),
        (-7, 99),
        (i64::MIN, 99),
    ];
    for version in 1..=11 {
        for (timestamp, from) in values {
            let found = broker.list_offsets(version, &wire::list_offsets("t", 0, timestamp));
            let expected = match version >= from {
                true => ErrorCode::None,
                false => ErrorCode::UnsupportedVersion,
            };
            assert_eq!(found.error_code, expected, "{version} {timestamp}");
            assert_eq!(found.timestamp, -1);
        }
    }
}

#[test]
fn o1_without_tiers_the_local_log_starts_where_the_log_does_and_nothing_is_tiered() {
    let mut broker = broker();
    broker.append("t", 0, &["a", "b"]);
    // (value, offset, leader epoch)
    for (timestamp, offset, epoch) in [(-4, 0, 0), (-5, -1, -1), (-6, -1, -1)] {
        let found = broker.list_offsets(11, &wire::list_offsets("t", 0, timestamp));
        let told = (found.error_code, found.offset, found.leader_epoch);
        assert_eq!(told, (ErrorCode::None, offset, epoch), "{timestamp}");
    }
}

#[test]
fn o1_the_newest_record_is_the_first_with_the_largest_timestamp() {
    let mut broker = broker();
    let newest = |broker: &mut Broker| {
        let found = broker.list_offsets(11, &wire::list_offsets("t", 0, -3));
        assert_eq!(found.error_code, ErrorCode::None);
        (found.offset, found.timestamp - EPOCH_MS, found.leader_epoch)
    };
    assert_eq!(newest(&mut broker), (-1, -1 - EPOCH_MS, -1), "an empty log");
    // (codec and timestamps of a batch, offset and timestamp of the newest then)
    let batches: [(Compression, &[i64], (i64, i64)); 5] = [
        (Compression::None, &[5, 7, 6], (1, 7)),
        (Compression::Gzip, &[7, 3], (1, 7)),
        (Compression::Zstd, &[1, 40, 40], (6, 40)),
        (Compression::Lz4, &[40], (6, 40)),
        (Compression::Snappy, &[2], (6, 40)),
    ];
    for (compression, timestamps, (offset, timestamp)) in batches {
        let mut builder = BatchBuilder::new(BatchHeader {
            compression,
            ..BatchHeader::default()
        });
        for timestamp in timestamps {
            builder.push(EPOCH_MS + timestamp, None, Some(b"v"), &[]);
        }
        let answer = broker.produce(9, &wire::produce(-1, "t", 0, builder.finish()));
        assert_eq!(answer.error_code, ErrorCode::None);
        assert_eq!(newest(&mut broker), (offset, timestamp, 0));
    }
    broker = broker.restart();
    assert_eq!(newest(&mut broker), (6, 40, 0));
}

#[test]
fn o4_an_epoch_ends_where_the_next_one_starts() {
    let mut broker = broker();
    broker.append("t", 0, &["a", "b"]);
    broker = broker.restart();
    broker.append("t", 0, &["c"]);
    // Nothing is written under epoch 2.
    broker = broker.restart().restart();
    broker.append("t", 0, &["d"]);
    // (epoch, the largest of the log that is not above it, its end)
    let cases = [
        (0, 0, 2),
        (1, 1, 3),
        (2, 1, 3),
        (3, 3, 4),
        (4, -1, -1),
        (-1, -1, -1),
        (i32::MAX, -1, -1),
    ];
    for version in 2..=4 {
        for (asked, epoch, end) in cases {
            let response = broker.call(version, &wire::epoch_end("t", 0, asked));
            let found = &response.topics[0].partitions[0];
            let told = (found.error_code, found.leader_epoch, found.end_offset);
            assert_eq!(told, (ErrorCode::None, epoch, end), "{version} {asked}");
        }
        for (current, code) in [
            (2, ErrorCode::FencedLeaderEpoch),
            (3, ErrorCode::None),
            (4, ErrorCode::UnknownLeaderEpoch),
        ] {
            let mut request = wire::epoch_end("t", 0, 0);
            request.topics[0].partitions[0].current_leader_epoch = current;
            let response = broker.call(version, &request);
            let found = &response.topics[0].partitions[0];
            assert_eq!(found.error_code, code, "{version} {current}");
        }
        for (topic, partition) in [("t", 2), ("t", -1), ("nobody", 0)] {
            let response = broker.call(version, &wire::epoch_end(topic, partition, 0));
            let found = &response.topics[0].partitions[0];
            let told = (found.error_code, found.leader_epoch, found.end_offset);
            assert_eq!(told, (ErrorCode::UnknownTopicOrPartition, -1, -1));
        }
    }
}

#[test]
fn o1_o3_very_many_partitions_are_all_answered_and_hold_up_nobody() {
    let mut broker = Broker::default();
    broker.create("wide", 1_500, &[]);
    assert_eq!(broker.append("wide", 1_499, &["a"]), 0);
    let mut request = wire::list_offsets("wide", 0, -1);
    let one = request.topics[0].partitions[0].clone();
    let all = (0..1_500).chain([7]).map(|partition_index| {
        let mut one = one.clone();
        one.partition_index = partition_index;
        one
    });
    request.topics[0].partitions = all.collect();
    let (asking, other) = (broker.connect(0), broker.connect(0));
    let id = broker.send(asking, 5, &request);
    let ping = broker.send(other, 0, &ApiVersionsRequest::default());
    broker.node.turn(ShardIndex(0));
    broker.expect::<ApiVersionsRequest>(other, 0, ping);
    let told = broker.expect::<ListOffsetsRequest>(asking, 5, id);
    let told = &told.topics[0].partitions;
    assert_eq!(told.len(), 1_501);
    for (at, one) in told.iter().enumerate() {
        let (code, offset) = match at {
            7 | 1_500 => (ErrorCode::InvalidRequest, -1),
            1_499 => (ErrorCode::None, 1),
            _ => (ErrorCode::None, 0),
        };
        assert_eq!((one.error_code, one.offset), (code, offset), "{at}");
    }
    assert_eq!(broker.node.core(ShardIndex(0)).in_flight(), 0);
}

#[test]
fn o2_the_first_record_at_or_behind_a_timestamp_is_found_inside_its_batch() {
    let mut broker = broker();
    for (index, compression) in [Compression::None, Compression::Lz4]
        .into_iter()
        .enumerate()
    {
        let partition = index as i32;
        let header = BatchHeader {
            compression,
            ..BatchHeader::default()
        };
        for batch in 0..3 {
            let mut builder = BatchBuilder::new(header);
            for record in 0..4 {
                let timestamp = EPOCH_MS + 100 * batch + 10 * record;
                builder.push(timestamp, None, Some(b"v"), &[]);
            }
            let response = broker.produce(8, &wire::produce(-1, "t", partition, builder.finish()));
            assert_eq!(response.error_code, ErrorCode::None);
        }
        // (target, offset, timestamp of the record found)
        let cases = [
            (0, 0, 0),
            (EPOCH_MS, 0, 0),
            (EPOCH_MS + 1, 1, 10),
            (EPOCH_MS + 31, 4, 100),
            (EPOCH_MS + 120, 6, 120),
            (EPOCH_MS + 225, 11, 230),
        ];
        for (target, offset, delta) in cases {
            let found = broker.list_offsets(5, &wire::list_offsets("t", partition, target));
            assert_eq!(found.error_code, ErrorCode::None);
            assert_eq!(
                (found.offset, found.timestamp, found.leader_epoch),
                (offset, EPOCH_MS + delta, 0),
                "{target}"
            );
        }
        let found = broker.list_offsets(5, &wire::list_offsets("t", partition, EPOCH_MS + 231));
        assert_eq!(
            (found.error_code, found.offset, found.timestamp),
            (ErrorCode::None, -1, -1),
            "there is none"
        );
    }
}

#[test]
fn o3_the_same_partition_twice_is_an_invalid_request_and_epochs_are_checked() {
    let mut broker = broker();
    let mut request = wire::list_offsets("t", 0, -1);
    let twice = request.topics[0].partitions[0].clone();
    let other = ListOffsetsPartition {
        partition_index: 1,
        ..twice.clone()
    };
    request.topics[0].partitions.extend([twice, other]);
    let response = broker.call(5, &request);
    let codes: Vec<_> = response.topics[0]
        .partitions
        .iter()
        .map(|one| one.error_code)
        .collect();
    let invalid = ErrorCode::InvalidRequest;
    assert_eq!(codes, [invalid, invalid, ErrorCode::None]);

    broker = broker.restart();
    for timestamp in [-1, -2, 0] {
        for (epoch, expected) in [
            (0, ErrorCode::FencedLeaderEpoch),
            (1, ErrorCode::None),
            (2, ErrorCode::UnknownLeaderEpoch),
        ] {
            let mut request = wire::list_offsets("t", 1, timestamp);
            request.topics[0].partitions[0].current_leader_epoch = epoch;
            let found = broker.list_offsets(5, &request);
            assert_eq!(found.error_code, expected, "{timestamp} {epoch}");
        }
    }
}

#[test]
fn unknown_topics_and_partitions_are_3() {
    let mut broker = broker();
    for (topic, partition) in [("t", 2), ("t", -1), ("nobody", 0)] {
        let found = broker.list_offsets(5, &wire::list_offsets(topic, partition, -1));
        assert_eq!(found.error_code, ErrorCode::UnknownTopicOrPartition);
        assert_eq!((found.offset, found.timestamp), (-1, -1));
    }
}

#[test]
fn o2_the_leader_epoch_told_is_that_of_the_offset() {
    let mut broker = broker();
    // Every start of the node raises the epoch.
    for round in 0..3 {
        broker.append("t", 0, &[&round.to_string()]);
        broker.node.pass_ms(1000);
        broker = broker.restart();
    }
    let timestamp = |round: i64| EPOCH_MS + 1000 * round;
    // (partition, what is asked for, offset, epoch)
    let cases = [
        (0, -2, 0, 0),
        (0, timestamp(0), 0, 0),
        (0, timestamp(1), 1, 1),
        (0, timestamp(2), 2, 2),
        (0, -1, 3, 3),
        (0, timestamp(3), -1, -1),
        // Nothing was ever written: the epoch of its leader.
        (1, -2, 0, 3),
        (1, -1, 0, 3),
    ];
    for (partition, asked, offset, epoch) in cases {
        let found = broker.list_offsets(5, &wire::list_offsets("t", partition, asked));
        let told = (found.error_code, found.offset, found.leader_epoch);
        assert_eq!(
            told,
            (ErrorCode::None, offset, epoch),
            "{partition} {asked}"
        );
        // Before version 4 there is no epoch on the wire.
        let found = broker.list_offsets(3, &wire::list_offsets("t", partition, asked));
        assert_eq!((found.offset, found.leader_epoch), (offset, -1));
    }
}

#[test]
fn o2_what_was_found_is_found_after_a_restart() {
    let mut broker = broker();
    for round in 0..20 {
        broker.node.pass_ms(1000);
        broker.append("t", 0, &[&round.to_string()]);
    }
    let target = EPOCH_MS + 7000;
    let before = broker.list_offsets(5, &wire::list_offsets("t", 0, target));
    assert_eq!(before.offset, 6);
    let mut broker = broker.restart();
    let after = broker.list_offsets(5, &wire::list_offsets("t", 0, target));
    assert_eq!(
        (after.offset, after.timestamp),
        (before.offset, before.timestamp)
    );
}

#[test]
fn retention_moves_the_log_start_for_fetch_and_list_offsets() {
    let mut broker = Broker::default();
    let configs = [("segment.bytes", "1048576"), ("retention.bytes", "2097152")];
    broker.create("t", 1, &configs);
    let value = "x".repeat(100_000);
    for _ in 0..60 {
        broker.append("t", 0, &[&value]);
        broker.node.run_ms(1000);
    }
    broker.node.run_ms(300_000);
    let earliest = broker
        .list_offsets(5, &wire::list_offsets("t", 0, -2))
        .offset;
    assert!((20..=50).contains(&earliest), "{earliest}");
    let below = broker.fetch(11, &wire::fetch("t", 0, earliest - 1));
    assert_eq!(below.error_code, ErrorCode::OffsetOutOfRange);
    let at = broker.fetch(11, &wire::fetch("t", 0, earliest));
    assert_eq!(
        (at.error_code, at.log_start_offset),
        (ErrorCode::None, earliest)
    );
    let mut broker = broker.restart();
    let again = broker
        .list_offsets(5, &wire::list_offsets("t", 0, -2))
        .offset;
    assert!(again >= earliest, "it survives a restart");
}

#[test]
fn o2_a_batch_that_nobody_can_unpack_hides_no_record_behind_it() {
    let mut broker = Broker::default();
    broker.create("t", 1, &[]);
    let now = broker.node.now().wall.0;
    let header = BatchHeader {
        compression: Compression::Gzip,
        ..BatchHeader::default()
    };
    let mut batch = BytesMut::from(&wire::batch_of(header, now + 1_000, &["a", "b"])[..]);
    batch[61..].fill(b'x');
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    for batch in [batch.freeze(), wire::batch(now + 500, &["honest"])] {
        let told = broker.produce(9, &wire::produce(-1, "t", 0, batch));
        assert_eq!(told.error_code, ErrorCode::None);
    }
    for timestamp in [0, now + 1, now + 500, -3] {
        let found = broker.list_offsets(7, &wire::list_offsets("t", 0, timestamp));
        let told = (found.error_code, found.offset, found.timestamp);
        assert_eq!(told, (ErrorCode::None, 2, now + 500), "{timestamp}");
    }
    let found = broker.list_offsets(7, &wire::list_offsets("t", 0, now + 501));
    assert_eq!((found.error_code, found.offset), (ErrorCode::None, -1));
}

#[test]
fn o2_a_search_in_a_batch_that_takes_long_holds_up_nobody() {
    let mut broker = broker();
    let header = BatchHeader {
        compression: Compression::Zstd,
        ..BatchHeader::default()
    };
    let mut builder = BatchBuilder::new(header);
    for record in 0..1_000 {
        builder.push(EPOCH_MS + record, None, Some(b"v"), &[]);
    }
    let batch = builder.finish();
    for partition in 0..2 {
        let told = broker.produce(9, &wire::produce(-1, "t", partition, batch.clone()));
        assert_eq!(told.error_code, ErrorCode::None);
    }
    let (conn, stranger) = (broker.connect(0), broker.connect(0));
    let seek = |partition, record| wire::list_offsets("t", partition, EPOCH_MS + record);
    let searches = [seek(0, 500), seek(1, 700), seek(0, 999)];
    for (id, request) in searches.iter().enumerate() {
        broker
            .node
            .request(conn, wire::frame(5, id as i32, request));
    }
    broker.run_without_workshop();
    // Everything of that shard that needs no workshop goes on, other searches too.
    let latest = wire::frame(5, 9, &wire::list_offsets("t", 0, -1));
    broker.node.request(stranger, latest);
    broker.run_without_workshop();
    assert_eq!(broker.node.receive(conn), "");
    let mut answers = BytesMut::from(&broker.node.receive(stranger)[..]);
    let answer = wire::next_frame(&mut answers).expect("it is answered meanwhile");
    let (_, latest) = wire::answer::<ListOffsetsRequest>(5, &answer);
    assert_eq!(latest.topics[0].partitions[0].offset, 1_000);
    broker.node.settle();
    for (id, offset) in [(0, 500), (1, 700), (2, 999)] {
        let found = broker.expect::<ListOffsetsRequest>(conn, 5, id);
        let found = &found.topics[0].partitions[0];
        let told = (found.error_code, found.offset, found.timestamp);
        assert_eq!(told, (ErrorCode::None, offset, EPOCH_MS + offset));
    }
    for shard in broker.node.shards() {
        assert_eq!(broker.node.core(shard).in_flight(), 0);
    }
}
