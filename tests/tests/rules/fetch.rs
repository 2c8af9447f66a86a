//! Fetch: rules F1-F12.

use millstream_net::wire::api::{FetchPartition, FetchRequest, FetchTopic};
use millstream_net::wire::{ErrorCode, Records, Uuid};
use millstream_storage::ids::ShardIndex;
use millstream_tests::sim::broker::{Broker, values};
use millstream_tests::wire;

fn broker() -> Broker {
    let mut broker = Broker::default();
    broker.create("t", 3, &[]);
    broker
}

/// A request for several partitions of "t", from offset 0.
fn over(partitions: &[i32], max_bytes: i32, partition_max_bytes: i32) -> FetchRequest {
    let partition = |partition| FetchPartition {
        partition,
        fetch_offset: 0,
        partition_max_bytes,
        ..FetchPartition::default()
    };
    FetchRequest {
        max_bytes,
        topics: vec![FetchTopic {
            topic: "t".into(),
            partitions: partitions.iter().copied().map(partition).collect(),
            ..FetchTopic::default()
        }],
        ..wire::fetch("t", 0, 0)
    }
}

fn sizes(broker: &mut Broker, request: &FetchRequest) -> Vec<usize> {
    let response = broker.call(11, request);
    let partitions = response.responses[0].partitions.iter();
    partitions
        .map(|one| one.records.as_ref().map_or(0, Records::total_bytes))
        .collect()
}

#[test]
fn f1_the_first_partition_with_data_returns_a_whole_batch_however_large() {
    let mut broker = broker();
    let value = "x".repeat(10_000);
    broker.append("t", 1, &[&value]);
    broker.append("t", 2, &[&value]);
    let small = sizes(&mut broker, &over(&[0, 1, 2], 1, 1));
    assert!(
        small[0] == 0 && small[1] > 10_000 && small[2] == 0,
        "{small:?}"
    );
    let one = small[1];
    let both = sizes(&mut broker, &over(&[1, 2], 1 << 20, 1));
    assert_eq!(
        both,
        [one, 0],
        "the second partition keeps to its own limit"
    );
    let both = sizes(&mut broker, &over(&[1, 2], 1 << 20, 1 << 20));
    assert_eq!(both, [one, one]);
    let both = sizes(&mut broker, &over(&[2, 1], one as i32 + 10, 1 << 20));
    assert_eq!(both, [one, 0], "the request's limit cuts whole partitions");
}

#[test]
fn f1_batches_are_whole_and_fill_the_limit() {
    let mut broker = broker();
    for round in 0..10 {
        broker.append("t", 0, &[&format!("{round:0100}")]);
    }
    let mut request = wire::fetch("t", 0, 0);
    let whole = broker
        .fetch(11, &request)
        .records
        .expect("records")
        .total_bytes();
    let one = whole / 10;
    request.topics[0].partitions[0].partition_max_bytes = (3 * one + one / 2) as i32;
    let answer = broker.fetch(11, &request);
    assert_eq!(values(&answer).len(), 3);
}

#[test]
fn f2_an_offset_inside_a_batch_returns_that_batch_from_its_start() {
    let mut broker = broker();
    broker.append("t", 0, &["a", "b", "c"]);
    broker.append("t", 0, &["d"]);
    for offset in 0..3 {
        let answer = broker.fetch(11, &wire::fetch("t", 0, offset));
        assert_eq!(values(&answer)[0], (0, "a".to_owned()), "from {offset}");
    }
    let answer = broker.fetch(11, &wire::fetch("t", 0, 3));
    assert_eq!(values(&answer), [(3, "d".to_owned())]);
}

#[test]
fn f3_a_fetch_waits_for_min_bytes_and_no_longer_than_max_wait() {
    let mut broker = broker();
    for partition in 0..3 {
        let conn = broker.connect(0);
        let mut request = wire::fetch("t", partition, 0);
        request.max_wait_ms = 1000;
        let id = broker.send(conn, 11, &request);
        broker.node.run_ms(999);
        assert!(broker.next(conn).is_none());
        broker.node.run_ms(1);
        let response = broker.expect::<FetchRequest>(conn, 11, id);
        assert_eq!(
            response.responses[0].partitions[0].error_code,
            ErrorCode::None
        );
    }
}

#[test]
fn f3_new_data_below_the_high_watermark_wakes_a_fetch() {
    let mut broker = broker();
    for partition in 0..3 {
        let conn = broker.connect(1);
        let mut request = over(&[0, 1, 2], 1 << 20, 1 << 20);
        for one in &mut request.topics[0].partitions {
            one.fetch_offset = if one.partition < partition { 1 } else { 0 };
        }
        request.max_wait_ms = 10_000;
        let id = broker.send(conn, 11, &request);
        assert!(broker.next(conn).is_none());
        broker.append("t", partition, &["a"]);
        let response = broker.expect::<FetchRequest>(conn, 11, id);
        let answer = &response.responses[0].partitions[partition as usize];
        assert_eq!(values(answer), [(0, "a".to_owned())]);
    }
}

#[test]
fn f3_min_bytes_add_up_over_partitions_of_all_shards() {
    let mut broker = broker();
    let conn = broker.connect(0);
    let mut request = over(&[0, 1, 2], 1 << 20, 1 << 20);
    request.max_wait_ms = 10_000;
    request.min_bytes = 250;
    let id = broker.send(conn, 11, &request);
    let mut partition = 0;
    let mut appended = 0;
    while broker.node.receive(conn).is_empty() {
        assert!(appended < 10, "the answer does not come");
        broker.append("t", partition, &["a"]);
        partition = (partition + 1) % 3;
        appended += 1;
    }
    // A batch with one record of one byte takes 72 bytes.
    assert_eq!(appended, 4, "answer {id}");
}

#[test]
fn f3_a_partition_error_answers_at_once() {
    let mut broker = broker();
    let conn = broker.conn();
    let mut request = over(&[0, 9], 1 << 20, 1 << 20);
    request.max_wait_ms = 10_000;
    let id = broker.send(conn, 11, &request);
    let response = broker.expect::<FetchRequest>(conn, 11, id);
    let codes: Vec<_> = response.responses[0]
        .partitions
        .iter()
        .map(|one| one.error_code)
        .collect();
    assert_eq!(codes, [ErrorCode::None, ErrorCode::UnknownTopicOrPartition]);
    let mut request = over(&[0, 1], 1 << 20, 1 << 20);
    request.max_wait_ms = 10_000;
    request.topics[0].partitions[1].fetch_offset = 99;
    let id = broker.send(conn, 11, &request);
    let response = broker.expect::<FetchRequest>(conn, 11, id);
    let code = response.responses[0].partitions[1].error_code;
    assert_eq!(code, ErrorCode::OffsetOutOfRange);
}

#[test]
fn f3_the_deletion_of_a_topic_wakes_its_fetches() {
    let mut broker = broker();
    for shard in 0..2 {
        broker.create("gone", 2, &[]);
        let conn = broker.connect(shard);
        let mut request = over(&[0, 1], 1 << 20, 1 << 20);
        request.topics[0].topic = "gone".into();
        request.max_wait_ms = 60_000;
        let id = broker.send(conn, 11, &request);
        let delete = millstream_net::wire::api::DeleteTopicsRequest {
            topic_names: vec!["gone".into()],
            timeout_ms: 1000,
            ..Default::default()
        };
        broker.call(4, &delete);
        let response = broker.expect::<FetchRequest>(conn, 11, id);
        for one in &response.responses[0].partitions {
            assert_eq!(one.error_code, ErrorCode::UnknownTopicOrPartition);
        }
    }
}

#[test]
fn f4_nothing_above_the_high_watermark_is_shown() {
    let mut broker = broker();
    broker.append("t", 0, &["a"]);
    let conn = broker.connect(0);
    let batch = wire::batch(broker.node.now().wall.0, &["b"]);
    let frame = wire::frame(8, 1, &wire::produce(-1, "t", 0, batch));
    // The append is under way: no operation of the disk ends.
    broker.node.request(conn, frame);
    for _ in 0..5 {
        broker.node.turn(ShardIndex(0));
        broker.node.turn(ShardIndex(1));
    }
    let reader = broker.connect(0);
    broker
        .node
        .request(reader, wire::frame(11, 2, &wire::fetch("t", 0, 0)));
    for _ in 0..5 {
        broker.node.turn(ShardIndex(0));
        for (from, to) in broker.node.mail_routes() {
            broker.node.deliver(from, to);
        }
        broker.node.turn(ShardIndex(1));
    }
    let response = broker.expect::<FetchRequest>(reader, 11, 2);
    let answer = &response.responses[0].partitions[0];
    assert_eq!(answer.high_watermark, 1);
    assert_eq!(values(answer), [(0, "a".to_owned())]);
}

#[test]
fn f5_f6_offsets_out_of_range_and_the_fields_of_success_and_error() {
    let mut broker = broker();
    broker.append("t", 0, &["a", "b"]);
    for offset in [-1, 3, i64::MAX] {
        let answer = broker.fetch(11, &wire::fetch("t", 0, offset));
        assert_eq!(answer.error_code, ErrorCode::OffsetOutOfRange, "{offset}");
        let fields = (
            answer.high_watermark,
            answer.last_stable_offset,
            answer.log_start_offset,
        );
        assert_eq!(fields, (-1, -1, -1));
        assert_eq!(answer.records, Some(Records::default()), "empty, not null");
    }
    let answer = broker.fetch(11, &wire::fetch("t", 0, 2));
    assert_eq!(answer.error_code, ErrorCode::None);
    let fields = (
        answer.high_watermark,
        answer.last_stable_offset,
        answer.log_start_offset,
    );
    assert_eq!(fields, (2, 2, 0));
    assert_eq!(answer.records, Some(Records::default()), "empty, not null");
}

#[test]
fn f7_aborted_transactions_are_null_for_uncommitted_and_a_list_for_committed_readers() {
    let mut broker = broker();
    broker.append("t", 0, &["a"]);
    let mut request = wire::fetch("t", 0, 0);
    assert_eq!(broker.fetch(11, &request).aborted_transactions, None);
    request.isolation_level = 1;
    let answer = broker.fetch(11, &request);
    assert_eq!(answer.aborted_transactions, Some(Vec::new()));
    assert_eq!(values(&answer).len(), 1);
}

#[test]
fn f8_leader_epochs_of_the_client_are_checked() {
    let mut broker = broker();
    broker.append("t", 0, &["a"]);
    // The registration of a second start raises the epoch to 1.
    broker = broker.restart();
    let cases = [
        (-1, ErrorCode::None),
        (0, ErrorCode::FencedLeaderEpoch),
        (1, ErrorCode::None),
        (2, ErrorCode::UnknownLeaderEpoch),
    ];
    for (epoch, expected) in cases {
        let mut request = wire::fetch("t", 0, 0);
        request.topics[0].partitions[0].current_leader_epoch = epoch;
        assert_eq!(broker.fetch(9, &request).error_code, expected, "{epoch}");
        // Before version 9 there is no epoch on the wire.
        assert_eq!(broker.fetch(8, &request).error_code, ErrorCode::None);
    }
}

/// A partition with records 0 and 1 of epoch 0, 2 of epoch 1, and none of epoch 2, which leads.
fn broker_of_three_epochs() -> Broker {
    let mut broker = broker();
    broker.append("t", 0, &["a", "b"]);
    broker = broker.restart();
    broker.append("t", 0, &["c"]);
    broker.restart()
}

#[test]
fn f9_a_reader_whose_log_leaves_ours_is_told_where_and_gets_no_records() {
    let mut broker = broker_of_three_epochs();
    let none = (-1, -1);
    // (epoch of the last record, offset wanted, epoch and end told, code)
    let cases = [
        (-1, 1, none, ErrorCode::None),
        (0, 1, none, ErrorCode::None),
        (0, 2, none, ErrorCode::None),
        (0, 3, (0, 2), ErrorCode::None),
        (0, 99, (0, 2), ErrorCode::None),
        (1, 3, none, ErrorCode::None),
        (1, 4, (1, 3), ErrorCode::None),
        (2, 3, none, ErrorCode::None),
        (2, 4, (2, 3), ErrorCode::None),
        (3, 3, none, ErrorCode::OffsetOutOfRange),
        (0, -1, none, ErrorCode::OffsetOutOfRange),
        (-1, 4, none, ErrorCode::OffsetOutOfRange),
    ];
    for version in [12, 13, 18] {
        for (epoch, offset, told, code) in cases {
            let mut request = broker.with_ids(wire::fetch("t", 0, offset));
            request.topics[0].partitions[0].last_fetched_epoch = epoch;
            // Rule F3: it is answered at once, whatever it would wait for.
            request.max_wait_ms = 60_000;
            request.min_bytes = i32::from(told != none);
            let answer = broker.fetch(version, &request);
            let context = format!("version {version}, epoch {epoch}, offset {offset}");
            assert_eq!(answer.error_code, code, "{context}");
            let end = &answer.diverging_epoch;
            assert_eq!((end.epoch, end.end_offset), told, "{context}");
            if told != none {
                assert!(values(&answer).is_empty(), "{context}");
                assert_eq!(answer.high_watermark, 3, "{context}");
            }
        }
    }
    // Before version 12 there is no such epoch on the wire.
    let mut request = wire::fetch("t", 0, 99);
    request.topics[0].partitions[0].last_fetched_epoch = 0;
    let code = broker.fetch(11, &request).error_code;
    assert_eq!(code, ErrorCode::OffsetOutOfRange);
}

#[test]
fn f10_topics_are_named_by_id_from_version_13_on() {
    let mut broker = broker();
    broker.append("t", 0, &["a"]);
    let known = broker.topic_id("t");
    for version in 13..=18 {
        let mut request = wire::fetch("t", 0, 0);
        for (id, partition, code) in [
            (known, 0, ErrorCode::None),
            (known, 9, ErrorCode::UnknownTopicOrPartition),
            (Uuid([7; 16]), 0, ErrorCode::UnknownTopicId),
            (Uuid::ZERO, 0, ErrorCode::UnknownTopicId),
        ] {
            request.topics[0].topic_id = id;
            request.topics[0].partitions[0].partition = partition;
            let response = broker.call(version, &request);
            let answer = &response.responses[0].partitions[0];
            assert_eq!(answer.error_code, code, "{id:?} {partition}");
            assert_eq!(response.responses[0].topic_id, id);
            assert_eq!(values(answer).len(), usize::from(code == ErrorCode::None));
        }
    }
}

#[test]
fn f10_a_topic_made_again_under_its_name_is_not_the_one_of_the_former_id() {
    let mut broker = broker();
    broker.append("t", 0, &["a"]);
    let former = broker.with_ids(wire::fetch("t", 0, 0));
    let mut waiting = former.clone();
    waiting.topics[0].partitions[0].fetch_offset = 1;
    waiting.max_wait_ms = 60_000;
    let conn = broker.connect(1);
    let id = broker.send(conn, 18, &waiting);
    assert!(broker.next(conn).is_none(), "it waits");
    let delete = millstream_net::wire::api::DeleteTopicsRequest {
        topic_names: vec!["t".into()],
        timeout_ms: 1000,
        ..Default::default()
    };
    broker.call(4, &delete);
    let woken = broker.expect::<FetchRequest>(conn, 18, id);
    let code = woken.responses[0].partitions[0].error_code;
    assert_eq!(code, ErrorCode::UnknownTopicId);
    broker.create("t", 3, &[]);
    let code = broker.fetch(18, &former).error_code;
    assert_eq!(code, ErrorCode::UnknownTopicId);
    let now = broker.with_ids(wire::fetch("t", 0, 0));
    assert_eq!(broker.fetch(18, &now).high_watermark, 0);
}

#[test]
fn f11_who_knows_an_old_epoch_is_told_who_leads_and_where() {
    let mut broker = broker_of_three_epochs();
    for version in 12..=18 {
        let mut request = broker.with_ids(wire::fetch("t", 0, 0));
        request.topics[0].partitions[0].current_leader_epoch = 1;
        let response = broker.call(version, &request);
        let answer = &response.responses[0].partitions[0];
        assert_eq!(answer.error_code, ErrorCode::FencedLeaderEpoch);
        let leader = &answer.current_leader;
        let told = (leader.leader_id, leader.leader_epoch);
        let nodes = response.node_endpoints.iter();
        let nodes: Vec<_> = nodes
            .map(|one| (one.node_id, one.host.to_string(), one.port))
            .collect();
        match version {
            16.. => {
                assert_eq!(told, (1, 2));
                assert_eq!(nodes, [(1, "node-1".to_owned(), 9092)]);
            }
            _ => assert!(told == (-1, -1) && nodes.is_empty(), "{version}"),
        }
        // Nothing of it where nothing is wrong.
        request.topics[0].partitions[0].current_leader_epoch = 2;
        let response = broker.call(version, &request);
        assert!(response.node_endpoints.is_empty());
    }
}

#[test]
fn f12_without_a_replica_selector_there_is_no_preferred_replica() {
    let mut broker = broker();
    let mut request = wire::fetch("t", 0, 0);
    request.rack_id = "rack-1".into();
    let request = broker.with_ids(request);
    for version in 11..=18 {
        let answer = broker.fetch(version, &request);
        assert_eq!(answer.preferred_read_replica, -1);
        assert_eq!(answer.error_code, ErrorCode::None);
    }
}

#[test]
fn a_fetch_of_nothing_is_answered_at_once() {
    let mut broker = broker();
    let mut request = over(&[], 1 << 20, 1 << 20);
    request.max_wait_ms = 10_000;
    let response = broker.call(11, &request);
    assert!(response.responses[0].partitions.is_empty());
}

#[test]
fn cold_and_warm_reads_give_the_same_bytes() {
    let mut broker = broker();
    for round in 0..50 {
        for partition in 0..3 {
            broker.append("t", partition, &[&format!("{partition}-{round}")]);
        }
    }
    let read = |broker: &mut Broker| -> Vec<Vec<(i64, String)>> {
        (0..3)
            .map(|one| values(&broker.fetch(11, &wire::fetch("t", one, 0))))
            .collect()
    };
    let warm = read(&mut broker);
    assert_eq!(warm[2].len(), 50);
    let mut broker = broker.restart();
    assert_eq!(read(&mut broker), warm);
}

#[test]
fn a_reader_that_takes_nothing_holds_two_answers_at_the_most_and_gets_all_when_it_reads() {
    let mut broker = broker();
    let value = "x".repeat(900_000);
    for _ in 0..20 {
        broker.append("t", 0, &[&value]);
    }
    let conn = broker.connect(1);
    let mut request = wire::fetch("t", 0, 0);
    request.max_bytes = 16 << 20;
    request.topics[0].partitions[0].partition_max_bytes = 16 << 20;
    let ids: Vec<_> = (0..10).map(|_| broker.send(conn, 11, &request)).collect();
    // Others are served meanwhile.
    let other = broker.fetch(11, &wire::fetch("t", 0, 19));
    assert_eq!(values(&other).len(), 1);
    let held = broker.node.untaken_bytes(conn);
    assert!((14 << 20..=34 << 20).contains(&held), "{held} bytes");
    for id in ids {
        let response = broker.expect::<FetchRequest>(conn, 11, id);
        let answer = &response.responses[0].partitions[0];
        assert!(values(answer).len() >= 16);
    }
}
