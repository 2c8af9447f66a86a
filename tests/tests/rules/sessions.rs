//! Fetch sessions: rules F13 and F14, and the waiting of F3 in them.

use millstream_net::wire::ErrorCode;
use millstream_net::wire::api::{
    DeleteTopicsRequest, FetchPartition, FetchRequest, FetchResponse, FetchTopic, ForgottenTopic,
};
use millstream_storage::ids::ShardIndex;
use millstream_tests::sim::broker::{Broker, values};
use millstream_tests::sim::node::{Conn, NodeConfig};
use millstream_tests::wire;

/// Three shards; "t" has two partitions on each.
fn broker() -> Broker {
    let config = NodeConfig {
        shards: 3,
        ..NodeConfig::default()
    };
    let mut broker = Broker::new(config);
    broker.create("t", 6, &[]);
    broker
}

/// A reader as clients are: it keeps the id and number of its session, and its offsets.
struct Reader {
    conn: Conn,
    version: i16,
    request: FetchRequest,
    offsets: Vec<i64>,
}

impl Reader {
    /// Opens a session on all partitions of "t".
    fn open(broker: &mut Broker, version: i16) -> (Reader, FetchResponse) {
        let partition = |partition| FetchPartition {
            partition,
            partition_max_bytes: 1 << 20,
            ..FetchPartition::default()
        };
        let request = FetchRequest {
            session_epoch: 0,
            topics: vec![FetchTopic {
                topic: "t".into(),
                partitions: (0..6).map(partition).collect(),
                ..FetchTopic::default()
            }],
            ..wire::fetch("t", 0, 0)
        };
        let mut reader = Reader {
            conn: broker.connect(0),
            version,
            request: broker.with_ids(request),
            offsets: vec![0; 6],
        };
        let response = reader.fetch(broker);
        assert_eq!(response.error_code, ErrorCode::None);
        assert!(response.session_id > 0);
        reader.request.session_id = response.session_id;
        reader.request.topics.clear();
        reader.request.session_epoch = 1;
        (reader, response)
    }

    fn fetch(&mut self, broker: &mut Broker) -> FetchResponse {
        let id = self.send(broker);
        broker.expect::<FetchRequest>(self.conn, self.version, id)
    }

    fn send(&mut self, broker: &mut Broker) -> i32 {
        broker.send(self.conn, self.version, &self.request)
    }

    /// Goes on: the next number, and the offsets behind what the last answer brought.
    fn go_on(&mut self, broker: &mut Broker, response: &FetchResponse) {
        self.request.session_epoch += 1;
        self.request.forgotten_topics_data.clear();
        let mut changed = Vec::new();
        for answer in response.responses.iter().flat_map(|one| &one.partitions) {
            if let Some((last, _)) = values(answer).last() {
                self.offsets[answer.partition_index as usize] = last + 1;
                changed.push(self.wanted(answer.partition_index));
            }
        }
        self.want(broker, changed);
    }

    fn wanted(&self, partition: i32) -> FetchPartition {
        FetchPartition {
            partition,
            fetch_offset: self.offsets[partition as usize],
            partition_max_bytes: 1 << 20,
            ..FetchPartition::default()
        }
    }

    fn want(&mut self, broker: &mut Broker, partitions: Vec<FetchPartition>) {
        self.request.topics.clear();
        if !partitions.is_empty() {
            self.request.topics.push(FetchTopic {
                topic: "t".into(),
                partitions,
                ..FetchTopic::default()
            });
        }
        self.request = broker.with_ids(self.request.clone());
    }

    /// One fetch, with the next number behind it.
    fn poll(&mut self, broker: &mut Broker) -> Vec<(i32, Vec<String>)> {
        let response = self.fetch(broker);
        assert_eq!(response.error_code, ErrorCode::None);
        assert_eq!(response.session_id, self.request.session_id);
        self.go_on(broker, &response);
        found(&response)
    }
}

/// Partitions of an answer and the values in them.
fn found(response: &FetchResponse) -> Vec<(i32, Vec<String>)> {
    let answers = response.responses.iter().flat_map(|one| &one.partitions);
    answers
        .map(|one| {
            let values = values(one).into_iter().map(|(_, value)| value);
            (one.partition_index, values.collect())
        })
        .collect()
}

fn one(partition: i32, value: &str) -> Vec<(i32, Vec<String>)> {
    vec![(partition, vec![value.to_owned()])]
}

#[test]
fn f13_f14_a_session_tells_everything_first_and_then_what_changed() {
    for version in [7, 11, 12, 13, 18] {
        let mut broker = broker();
        broker.append("t", 4, &["a"]);
        let (mut reader, first) = Reader::open(&mut broker, version);
        let named: Vec<_> = found(&first).into_iter().map(|one| one.0).collect();
        assert_eq!(named, [0, 1, 2, 3, 4, 5], "all of them, with or without");
        reader.request.session_epoch = 0;
        reader.go_on(&mut broker, &first);
        assert!(reader.poll(&mut broker).is_empty(), "nothing has changed");
        for partition in 0..6 {
            broker.append("t", partition, &["b"]);
            assert_eq!(reader.poll(&mut broker), one(partition, "b"));
            assert!(reader.poll(&mut broker).is_empty());
        }
    }
}

#[test]
fn f13_what_is_not_fetched_on_is_returned_again() {
    let mut broker = broker();
    let (mut reader, _) = Reader::open(&mut broker, 18);
    broker.append("t", 1, &["a"]);
    for _ in 0..3 {
        let response = reader.fetch(&mut broker);
        assert_eq!(found(&response), one(1, "a"));
        // The answer is lost: the offset stays.
        reader.request.session_epoch += 1;
    }
}

#[test]
fn f13_the_number_and_the_id_must_be_those_of_the_session() {
    let mut broker = broker();
    let (mut reader, _) = Reader::open(&mut broker, 18);
    let id = reader.request.session_id;
    let other = if id == 1 { 2 } else { 1 };
    // (id, number, code)
    let cases = [
        (other, 1, ErrorCode::FetchSessionIdNotFound),
        (0, 1, ErrorCode::FetchSessionIdNotFound),
        (id, 2, ErrorCode::InvalidFetchSessionEpoch),
        (id, i32::MAX, ErrorCode::InvalidFetchSessionEpoch),
        (id, -2, ErrorCode::InvalidFetchSessionEpoch),
        (id, 1, ErrorCode::None),
        (id, 1, ErrorCode::InvalidFetchSessionEpoch),
        (id, 2, ErrorCode::None),
    ];
    for (id, number, code) in cases {
        reader.request.session_id = id;
        reader.request.session_epoch = number;
        let response = reader.fetch(&mut broker);
        assert_eq!(response.error_code, code, "{id} {number}");
        assert!(response.responses.is_empty());
        let told = if code == ErrorCode::None { id } else { 0 };
        assert_eq!(response.session_id, told);
    }
}

#[test]
fn f13_a_session_of_names_does_not_go_on_with_ids_nor_the_other_way_round() {
    for (first, second) in [(12, 13), (13, 12), (18, 7)] {
        let mut broker = broker();
        let (mut reader, _) = Reader::open(&mut broker, first);
        reader.version = second;
        let response = reader.fetch(&mut broker);
        assert_eq!(response.error_code, ErrorCode::FetchSessionTopicIdError);
        reader.version = first;
        let response = reader.fetch(&mut broker);
        assert_eq!(response.error_code, ErrorCode::None, "it is still there");
    }
}

#[test]
fn f13_a_session_is_closed_or_replaced_by_a_request_that_says_so() {
    let mut broker = broker();
    let (mut reader, _) = Reader::open(&mut broker, 18);
    let first = reader.request.session_id;
    // Replaced.
    reader.request.session_epoch = 0;
    let all = (0..6).map(|one| reader.wanted(one)).collect();
    reader.want(&mut broker, all);
    let response = reader.fetch(&mut broker);
    let second = response.session_id;
    assert!(second > 0 && second != first);
    assert_eq!(response.responses[0].partitions.len(), 6);
    reader.request.session_epoch = 1;
    let gone = reader.fetch(&mut broker);
    assert_eq!(gone.error_code, ErrorCode::FetchSessionIdNotFound);
    // Closed, by a request that stands by itself.
    reader.request.session_id = second;
    reader.request.session_epoch = -1;
    let response = reader.fetch(&mut broker);
    let told = (response.error_code, response.session_id);
    assert_eq!(told, (ErrorCode::None, 0));
    assert_eq!(response.responses[0].partitions.len(), 6);
    reader.request.session_epoch = 1;
    let gone = reader.fetch(&mut broker);
    assert_eq!(gone.error_code, ErrorCode::FetchSessionIdNotFound);
}

#[test]
fn f13_without_room_for_a_session_there_is_none_and_all_is_answered() {
    let mut config = NodeConfig::default();
    config.settings.fetch_sessions_max = 2;
    let mut broker = Broker::new(config);
    broker.create("t", 1, &[]);
    broker.append("t", 0, &["a"]);
    let mut request = broker.with_ids(wire::fetch("t", 0, 0));
    request.session_epoch = 0;
    // One slot on each of two shards.
    let first = broker.call(18, &request).session_id;
    assert!(first > 0);
    for _ in 0..3 {
        let response = broker.call(18, &request);
        assert_eq!(response.session_id, 0);
        assert_eq!(found(&response), one(0, "a"));
    }
    // What was idle for two minutes makes room.
    broker.node.run_ms(119_000);
    assert_eq!(broker.call(18, &request).session_id, 0);
    broker.node.run_ms(2_000);
    let second = broker.call(18, &request).session_id;
    assert!(second > 0 && second != first);
}

#[test]
fn f13_a_session_keeps_no_name_that_is_longer_than_a_topics() {
    let mut broker = broker();
    let long = "x".repeat(250);
    let mut request = wire::fetch(&long, 0, 0);
    request.session_epoch = 0;
    let response = broker.call(12, &request);
    assert_eq!(
        (response.error_code, response.session_id),
        (ErrorCode::None, 0)
    );
    let (mut reader, _) = Reader::open(&mut broker, 12);
    reader.request.topics = request.topics;
    let response = reader.fetch(&mut broker);
    assert_eq!(response.error_code, ErrorCode::FetchSessionIdNotFound);
}

#[test]
fn f13_a_session_outlives_its_connection() {
    let mut broker = broker();
    let (mut reader, _) = Reader::open(&mut broker, 18);
    reader.request.max_wait_ms = 60_000;
    reader.send(&mut broker);
    broker.node.disconnect(reader.conn);
    broker.node.settle();
    broker.append("t", 3, &["a"]);
    reader.conn = broker.connect(0);
    reader.request.session_epoch += 1;
    assert_eq!(reader.poll(&mut broker), one(3, "a"));
    // To another shard it is a stranger.
    reader.conn = broker.connect(1);
    let response = reader.fetch(&mut broker);
    assert_eq!(response.error_code, ErrorCode::FetchSessionIdNotFound);
}

#[test]
fn f14_what_is_forgotten_is_not_told_and_a_session_of_nothing_ends() {
    let mut broker = broker();
    let (mut reader, _) = Reader::open(&mut broker, 18);
    let forget = |broker: &mut Broker, reader: &mut Reader, partitions: Vec<i32>| {
        reader.request.forgotten_topics_data = vec![ForgottenTopic {
            topic: "t".into(),
            partitions,
            ..ForgottenTopic::default()
        }];
        reader.request = broker.with_ids(reader.request.clone());
    };
    broker.append("t", 0, &["a"]);
    broker.append("t", 1, &["b"]);
    forget(&mut broker, &mut reader, vec![0]);
    assert_eq!(reader.poll(&mut broker), one(1, "b"));
    broker.append("t", 0, &["c"]);
    assert!(reader.poll(&mut broker).is_empty());
    // Wanted again.
    let again = vec![reader.wanted(0)];
    reader.want(&mut broker, again);
    let both = vec!["a".to_owned(), "c".to_owned()];
    assert_eq!(reader.poll(&mut broker), [(0, both)]);
    forget(&mut broker, &mut reader, vec![0, 1, 2, 3, 4, 5]);
    reader.request.topics.clear();
    let response = reader.fetch(&mut broker);
    assert_eq!(
        (response.error_code, response.session_id),
        (ErrorCode::None, 0)
    );
    reader.request.session_epoch += 1;
    let response = reader.fetch(&mut broker);
    assert_eq!(response.error_code, ErrorCode::FetchSessionIdNotFound);
}

#[test]
fn f14_errors_are_told_every_time_and_at_once() {
    let mut broker = broker();
    let (mut reader, _) = Reader::open(&mut broker, 18);
    reader.request.max_wait_ms = 60_000;
    reader.offsets[2] = 99;
    let wrong = vec![reader.wanted(2)];
    reader.want(&mut broker, wrong);
    for _ in 0..3 {
        let response = reader.fetch(&mut broker);
        let answers = &response.responses[0].partitions;
        assert_eq!(answers.len(), 1);
        let told = (answers[0].partition_index, answers[0].error_code);
        assert_eq!(told, (2, ErrorCode::OffsetOutOfRange));
        reader.request.session_epoch += 1;
        reader.request.topics.clear();
    }
    // The error ends: the partition is told once more, without records.
    reader.offsets[2] = 0;
    let right = vec![reader.wanted(2)];
    reader.want(&mut broker, right);
    reader.request.max_wait_ms = 0;
    assert_eq!(reader.poll(&mut broker), [(2, Vec::new())]);
    assert!(reader.poll(&mut broker).is_empty());
}

#[test]
fn f14_a_moved_log_start_is_told() {
    let mut broker = Broker::default();
    let configs = [("segment.bytes", "1048576"), ("retention.bytes", "2097152")];
    broker.create("t", 1, &configs);
    let mut request = broker.with_ids(wire::fetch("t", 0, 0));
    request.session_epoch = 0;
    let response = broker.call(18, &request);
    request.session_id = response.session_id;
    let value = "x".repeat(100_000);
    for round in 1..200 {
        broker.append("t", 0, &[&value]);
        // Nothing is new but the high watermark.
        request.topics[0].partitions[0].fetch_offset = round;
        request.session_epoch += 1;
        let response = broker.call(18, &request);
        let before = response.responses[0].partitions[0].log_start_offset;
        broker.node.run_ms(60_000);
        let wanted = std::mem::take(&mut request.topics);
        request.session_epoch += 1;
        let response = broker.call(18, &request);
        request.topics = wanted;
        if let Some(topic) = response.responses.first() {
            let answer = &topic.partitions[0];
            assert!(answer.log_start_offset > before);
            assert_eq!(answer.high_watermark, round);
            assert!(values(answer).is_empty());
            return;
        }
    }
    panic!("retention never moved the log start");
}

#[test]
fn f14_who_returned_records_has_the_last_turn() {
    let mut broker = broker();
    for round in 0..3 {
        for partition in [1, 3, 5] {
            broker.append("t", partition, &[&format!("{round}")]);
        }
    }
    let (mut reader, first) = Reader::open(&mut broker, 18);
    assert_eq!(found(&first)[1].1.len(), 3);
    // From now on an answer has room for one batch. Nothing has been taken of the first one.
    reader.request.max_bytes = 1;
    let mut turns = Vec::new();
    for _ in 0..9 {
        let all = reader.poll(&mut broker);
        let with_records = all.into_iter().filter(|one| !one.1.is_empty());
        turns.extend(with_records.map(|one| one.0));
    }
    assert_eq!(turns, [1, 3, 5, 1, 3, 5, 1, 3, 5]);
}

#[test]
fn f3_a_session_waits_and_is_woken_from_every_shard() {
    let mut broker = broker();
    let (mut reader, _) = Reader::open(&mut broker, 18);
    reader.request.max_wait_ms = 60_000;
    for round in 0..3 {
        for partition in 0..6 {
            let id = reader.send(&mut broker);
            assert!(broker.next(reader.conn).is_none(), "it waits");
            let value = format!("{partition}-{round}");
            broker.append("t", partition, &[&value]);
            let response = broker.expect::<FetchRequest>(reader.conn, 18, id);
            assert_eq!(found(&response), one(partition, &value));
            reader.go_on(&mut broker, &response);
        }
    }
    // Its time is up: nothing is told.
    reader.request.max_wait_ms = 500;
    let id = reader.send(&mut broker);
    broker.node.run_ms(499);
    assert!(broker.next(reader.conn).is_none());
    broker.node.run_ms(1);
    let response = broker.expect::<FetchRequest>(reader.conn, 18, id);
    assert!(response.responses.is_empty());
}

#[test]
fn f3_min_bytes_of_a_session_add_up_over_partitions_of_all_shards() {
    let mut broker = broker();
    let (mut reader, _) = Reader::open(&mut broker, 18);
    reader.request.max_wait_ms = 60_000;
    // A batch with one record of one byte takes 72 bytes.
    reader.request.min_bytes = 250;
    for round in 0..3 {
        let id = reader.send(&mut broker);
        for partition in 0..3 {
            broker.append("t", partition, &["a"]);
            assert!(broker.next(reader.conn).is_none(), "{round} {partition}");
        }
        broker.append("t", 5, &["a"]);
        let response = broker.expect::<FetchRequest>(reader.conn, 18, id);
        assert_eq!(found(&response).len(), 4);
        reader.go_on(&mut broker, &response);
    }
}

#[test]
fn f3_the_deletion_of_a_topic_wakes_the_sessions_that_read_it() {
    for (version, code) in [
        (12, ErrorCode::UnknownTopicOrPartition),
        (18, ErrorCode::UnknownTopicId),
    ] {
        let mut broker = broker();
        let (mut reader, _) = Reader::open(&mut broker, version);
        reader.request.max_wait_ms = 60_000;
        let id = reader.send(&mut broker);
        let delete = DeleteTopicsRequest {
            topic_names: vec!["t".into()],
            timeout_ms: 1000,
            ..DeleteTopicsRequest::default()
        };
        broker.call(4, &delete);
        let response = broker.expect::<FetchRequest>(reader.conn, version, id);
        let answers: Vec<_> = response
            .responses
            .iter()
            .flat_map(|one| &one.partitions)
            .collect();
        assert!(!answers.is_empty());
        assert!(answers.iter().all(|one| one.error_code == code));
        // By name the topic that is made anew goes on; by id it is another one.
        broker.create("t", 6, &[]);
        broker.append("t", 0, &["new"]);
        reader.request.max_wait_ms = 0;
        reader.request.session_epoch += 1;
        let response = reader.fetch(&mut broker);
        let answer = &response.responses[0].partitions[0];
        match version {
            12 => assert_eq!(values(answer), [(0, "new".to_owned())]),
            _ => assert_eq!(answer.error_code, code),
        }
    }
}

#[test]
fn a_second_request_of_a_session_waits_for_the_first() {
    let mut broker = broker();
    let (mut reader, _) = Reader::open(&mut broker, 18);
    reader.request.max_wait_ms = 1_000;
    let first = reader.send(&mut broker);
    let other = broker.connect(0);
    let mut next = reader.request.clone();
    next.session_epoch += 1;
    let second = broker.send(other, 18, &next);
    broker.node.run_ms(999);
    assert!(broker.next(reader.conn).is_none() && broker.next(other).is_none());
    broker.node.run_ms(1);
    broker.expect::<FetchRequest>(reader.conn, 18, first);
    broker.append("t", 0, &["a"]);
    let response = broker.expect::<FetchRequest>(other, 18, second);
    assert_eq!(found(&response), one(0, "a"));
}

#[test]
fn a_session_whose_questions_go_astray_is_woken_by_who_has_the_partition() {
    let mut broker = broker();
    let (mut reader, _) = Reader::open(&mut broker, 18);
    reader.request.max_wait_ms = 60_000;
    let (home, owner, other) = (ShardIndex(0), ShardIndex(1), ShardIndex(2));
    // Partition 1 lives on shard 1.
    for round in 0..3 {
        let wanted = vec![reader.wanted(1)];
        reader.want(&mut broker, wanted);
        let frame = wire::frame(18, 1, &reader.request);
        broker.node.request(reader.conn, frame);
        assert!(broker.node.misdeliver(home, owner, other), "it is mailed");
        broker.node.settle();
        assert!(broker.next(reader.conn).is_none(), "it waits");
        broker.append("t", 1, &["a"]);
        let response = broker.expect::<FetchRequest>(reader.conn, 18, 1);
        assert_eq!(found(&response), one(1, "a"), "{round}");
        reader.go_on(&mut broker, &response);
    }
}
