//! Requests for very many partitions or topics are carried out in pieces: in each turn of their shard others are answered.

use millstream_net::wire::api::{
    ApiVersionsRequest, DeleteTopicsRequest, FetchPartition, FetchRequest, FetchTopic,
    MetadataRequest,
};
use millstream_net::wire::{ErrorCode, Records};
use millstream_storage::ids::ShardIndex;
use millstream_tests::sim::broker::{Broker, values};
use millstream_tests::sim::node::Conn;
use millstream_tests::wire;

/// Partitions of the wide topic; each of two shards has half of them.
const PARTITIONS: i32 = 2_000;
/// Turns that as many partitions of one shard take, when 256 are read in one of them.
const TURNS: usize = 4;

/// Lets one turn of each shard happen, and what comes of it: a stranger's request is answered in it.
fn turn(broker: &mut Broker, stranger: Conn) {
    let request = ApiVersionsRequest::default();
    broker.post(stranger, 0, &request);
    for shard in broker.node.shards() {
        broker.node.turn(shard);
    }
    for (from, to) in broker.node.mail_routes() {
        broker.node.deliver(from, to);
    }
    while broker.node.disk_pending() > 0 {
        broker.node.complete(0);
    }
    assert!(
        broker.arrived(stranger).is_some(),
        "nobody waits for a turn"
    );
}

/// How many turns pass before something is answered.
fn turns_until_answered(broker: &mut Broker, conn: Conn) -> usize {
    let stranger = broker.connect(0);
    for turns in 0..10_000 {
        if broker.node.untaken_bytes(conn) > 0 {
            return turns;
        }
        turn(broker, stranger);
    }
    panic!("it is never answered");
}

/// Reads all partitions of "wide", with a session or by itself.
fn everything(session_epoch: i32, max_wait_ms: i32) -> FetchRequest {
    let partition = |partition| FetchPartition {
        partition,
        partition_max_bytes: 1 << 20,
        ..FetchPartition::default()
    };
    FetchRequest {
        max_wait_ms,
        min_bytes: 1,
        session_epoch,
        topics: vec![FetchTopic {
            topic: "wide".into(),
            partitions: (0..PARTITIONS).map(partition).collect(),
            ..FetchTopic::default()
        }],
        ..wire::fetch("wide", 0, 0)
    }
}

fn wide() -> Broker {
    let mut broker = Broker::default();
    broker.create("wide", PARTITIONS, &[]);
    broker
}

fn assert_at_rest(broker: &Broker) {
    for shard in broker.node.shards() {
        assert_eq!(broker.node.core(shard).in_flight(), 0, "{shard:?}");
    }
}

#[test]
fn a_fetch_of_very_many_partitions_takes_turns_and_is_whole() {
    for session_epoch in [-1, 0] {
        let mut broker = wide();
        let conn = broker.connect(0);
        broker.append("wide", 1_999, &["last"]);
        let id = broker.post(conn, 11, &everything(session_epoch, 0));
        let turns = turns_until_answered(&mut broker, conn);
        assert!(turns >= TURNS - 1, "{turns}");
        let response = broker.expect::<FetchRequest>(conn, 11, id);
        let partitions = &response.responses[0].partitions;
        let indexes = partitions.iter().map(|one| one.partition_index);
        assert!(indexes.eq(0..PARTITIONS), "in the order of the request");
        assert!(
            partitions
                .iter()
                .all(|one| one.error_code == ErrorCode::None)
        );
        let bytes = |at: usize| {
            partitions[at]
                .records
                .as_ref()
                .map_or(0, Records::total_bytes)
        };
        assert_eq!(bytes(1_998), 0);
        assert_eq!(values(&partitions[1_999]), [(0, "last".to_owned())]);
        assert_at_rest(&broker);
    }
}

#[test]
fn f3_what_comes_while_the_pieces_are_read_wakes_the_fetch() {
    for (session_epoch, partition) in [(-1, 1), (-1, 1_999), (0, 1), (0, 1_999)] {
        let mut broker = wide();
        let (conn, stranger) = (broker.connect(0), broker.connect(0));
        if session_epoch == 0 {
            // The first answer of a session is about everything at once: the next one waits.
            let id = broker.send(conn, 11, &everything(0, 0));
            let begun = broker.expect::<FetchRequest>(conn, 11, id);
            let mut next = everything(1, 60_000);
            next.session_id = begun.session_id;
            broker.post(conn, 11, &next);
        } else {
            broker.post(conn, 11, &everything(-1, 60_000));
        }
        turn(&mut broker, stranger);
        broker.append("wide", partition, &["news"]);
        broker.node.settle();
        let answer = broker.arrived(conn).expect("it is woken");
        let (_, response) = wire::answer::<FetchRequest>(11, &answer);
        let told = response.responses.iter().flat_map(|one| &one.partitions);
        let bytes = |one: &&millstream_net::wire::api::FetchPartitionResponse| {
            one.records.as_ref().map_or(0, Records::total_bytes) > 0
        };
        let told: Vec<i32> = told.filter(bytes).map(|one| one.partition_index).collect();
        assert_eq!(told, [partition]);
        assert_at_rest(&broker);
    }
}

#[test]
fn who_leaves_while_the_pieces_are_read_leaves_nothing_behind() {
    for session_epoch in [-1, 0] {
        let mut broker = wide();
        let (conn, stranger) = (broker.connect(0), broker.connect(0));
        broker.post(conn, 11, &everything(session_epoch, 60_000));
        turn(&mut broker, stranger);
        broker.node.disconnect(conn);
        broker.node.settle();
        assert_at_rest(&broker);
        // Nobody is told of it.
        broker.append("wide", 1_999, &["a"]);
        assert_at_rest(&broker);
    }
}

#[test]
fn m10_a_deletion_of_many_topics_takes_turns_and_is_answered_whole_and_in_order() {
    let mut broker = Broker::default();
    let names: Vec<String> = (0..100).map(|number| format!("t{number:03}")).collect();
    for name in &names {
        broker.create(name, 1, &[]);
    }
    let conn = broker.connect(0);
    let request = DeleteTopicsRequest {
        topic_names: names.iter().map(|name| name.as_str().into()).collect(),
        timeout_ms: 60_000,
        ..DeleteTopicsRequest::default()
    };
    let id = broker.post(conn, 5, &request);
    let stranger = broker.connect(0);
    let mut counts = vec![names.len()];
    while broker.node.untaken_bytes(conn) == 0 {
        turn(&mut broker, stranger);
        let asked = broker.post(stranger, 9, &MetadataRequest::default());
        broker.node.turn(ShardIndex(0));
        let frame = broker.arrived(stranger).expect("it is answered at once");
        let (told, listed) = wire::answer::<MetadataRequest>(9, &frame);
        assert_eq!(told, asked);
        counts.push(listed.topics.len());
    }
    let at_once = counts.windows(2).map(|two| two[0] - two[1]).max();
    assert!(at_once.is_some_and(|most| most <= 16), "{counts:?}");
    let response = broker.expect::<DeleteTopicsRequest>(conn, 5, id);
    let told = response.responses.iter();
    let told: Vec<_> = told.map(|one| (one.name.clone(), one.error_code)).collect();
    let expected = names.iter();
    let expected: Vec<_> = expected
        .map(|name| (Some(name.as_str().into()), ErrorCode::None))
        .collect();
    assert_eq!(told, expected);
    broker.node.settle();
    assert_at_rest(&broker);
}
