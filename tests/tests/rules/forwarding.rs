//! Requests that reach a shard which has not the partition (any more): passed on once, answered as if they had come straight.

use millstream_net::wire::ErrorCode;
use millstream_net::wire::api::{
    FetchRequest, ListOffsetsRequest, OffsetForLeaderEpochRequest, ProduceRequest,
};
use millstream_storage::ids::ShardIndex;
use millstream_tests::sim::broker::{Broker, EPOCH_MS, values};
use millstream_tests::sim::node::{Conn, NodeConfig};
use millstream_tests::wire;

const HOME: ShardIndex = ShardIndex(0);
const OWNER: ShardIndex = ShardIndex(1);
const OTHER: ShardIndex = ShardIndex(2);

/// Three shards with a partition each, and a connection on the first.
fn broker() -> (Broker, Conn) {
    let config = NodeConfig {
        shards: 3,
        ..NodeConfig::default()
    };
    let mut broker = Broker::new(config);
    broker.create("t", 3, &[]);
    let conn = broker.connect(HOME.0);
    (broker, conn)
}

/// Sends a frame whose letters to the owner go to another shard first.
fn send_astray(broker: &mut Broker, conn: Conn, frame: bytes::Bytes) {
    broker.node.request(conn, frame);
    assert!(broker.node.misdeliver(HOME, OWNER, OTHER), "it is mailed");
    while broker.node.misdeliver(HOME, OWNER, OTHER) {}
    broker.node.settle();
}

/// Sends a frame whose letter is passed on to a shard that has not the partition either.
fn send_astray_twice(broker: &mut Broker, conn: Conn, frame: bytes::Bytes) {
    broker.node.request(conn, frame);
    assert!(broker.node.misdeliver(HOME, OWNER, OTHER), "it is mailed");
    assert!(
        broker.node.misdeliver(OTHER, OWNER, HOME),
        "it is passed on"
    );
    broker.node.settle();
}

#[test]
fn p5_f11_who_comes_to_the_wrong_place_is_told_who_leads_and_where() {
    let (mut broker, conn) = broker();
    for version in [9, 10, 12, 13] {
        let batch = wire::batch(EPOCH_MS, &["a"]);
        let request = broker.with_ids(wire::produce(-1, "t", 1, batch));
        send_astray_twice(&mut broker, conn, wire::frame(version, 1, &request));
        let response = broker.expect::<ProduceRequest>(conn, version, 1);
        let answer = &response.responses[0].partitions[0];
        assert_eq!(answer.error_code, ErrorCode::NotLeaderOrFollower);
        assert_eq!(answer.base_offset, -1);
        let leader = &answer.current_leader;
        let told = (leader.leader_id, leader.leader_epoch);
        let nodes = response.node_endpoints.iter();
        let nodes: Vec<_> = nodes.map(|one| (one.node_id, one.port)).collect();
        match version {
            10.. => assert_eq!((told, nodes), ((1, 0), vec![(1, 9092)])),
            _ => assert_eq!((told, nodes), ((-1, -1), Vec::new())),
        }
    }
    for version in [11, 15, 16, 18] {
        let request = broker.with_ids(wire::fetch("t", 1, 0));
        send_astray_twice(&mut broker, conn, wire::frame(version, 1, &request));
        let response = broker.expect::<FetchRequest>(conn, version, 1);
        let answer = &response.responses[0].partitions[0];
        assert_eq!(answer.error_code, ErrorCode::NotLeaderOrFollower);
        let leader = &answer.current_leader;
        let told = (leader.leader_id, leader.leader_epoch);
        let nodes = response.node_endpoints.iter();
        let nodes: Vec<_> = nodes.map(|one| (one.node_id, one.port)).collect();
        match version {
            16.. => assert_eq!((told, nodes), ((1, 0), vec![(1, 9092)])),
            _ => assert_eq!((told, nodes), ((-1, -1), Vec::new())),
        }
    }
}

fn is_at_rest(broker: &Broker) -> bool {
    let shards = [HOME, OWNER, OTHER];
    shards
        .iter()
        .all(|shard| broker.node.core(*shard).in_flight() == 0)
}

#[test]
fn appends_and_look_ups_that_went_astray_are_passed_on() {
    let (mut broker, conn) = broker();
    for (round, value) in ["a", "b"].into_iter().enumerate() {
        let request = wire::produce(-1, "t", 1, wire::batch(EPOCH_MS, &[value]));
        send_astray(&mut broker, conn, wire::frame(9, 1, &request));
        let response = broker.expect::<ProduceRequest>(conn, 9, 1);
        let answer = &response.responses[0].partitions[0];
        let told = (answer.error_code, answer.base_offset);
        assert_eq!(told, (ErrorCode::None, round as i64));
    }
    for (asked, offset) in [(-1, 2), (-2, 0), (EPOCH_MS, 0)] {
        let request = wire::list_offsets("t", 1, asked);
        send_astray(&mut broker, conn, wire::frame(5, 2, &request));
        let response = broker.expect::<ListOffsetsRequest>(conn, 5, 2);
        let answer = &response.topics[0].partitions[0];
        assert_eq!(
            (answer.error_code, answer.offset),
            (ErrorCode::None, offset)
        );
    }
    let request = wire::epoch_end("t", 1, 0);
    send_astray(&mut broker, conn, wire::frame(4, 3, &request));
    let response = broker.expect::<OffsetForLeaderEpochRequest>(conn, 4, 3);
    assert_eq!(response.topics[0].partitions[0].end_offset, 2);
    let request = broker.with_ids(wire::fetch("t", 1, 0));
    send_astray(&mut broker, conn, wire::frame(18, 3, &request));
    let response = broker.expect::<FetchRequest>(conn, 18, 3);
    assert_eq!(values(&response.responses[0].partitions[0]).len(), 2);
    assert!(is_at_rest(&broker));
}

#[test]
fn a_fetch_that_went_astray_is_woken_by_new_data() {
    let (mut broker, conn) = broker();
    let mut request = wire::fetch("t", 1, 0);
    request.max_wait_ms = 60_000;
    for round in 0..3 {
        request.topics[0].partitions[0].fetch_offset = round;
        send_astray(&mut broker, conn, wire::frame(11, 1, &request));
        assert!(broker.next(conn).is_none(), "it waits");
        broker.append("t", 1, &["a"]);
        let response = broker.expect::<FetchRequest>(conn, 11, 1);
        let found = values(&response.responses[0].partitions[0]);
        assert_eq!(found, [(round, "a".to_owned())]);
        assert!(is_at_rest(&broker), "nobody watches any more");
    }
}

#[test]
fn a_fetch_that_went_astray_ends_with_its_time_or_its_connection_and_leaves_nothing() {
    let (mut broker, conn) = broker();
    let mut request = wire::fetch("t", 1, 0);
    request.max_wait_ms = 500;
    send_astray(&mut broker, conn, wire::frame(11, 1, &request));
    broker.node.run_ms(500);
    let response = broker.expect::<FetchRequest>(conn, 11, 1);
    assert!(values(&response.responses[0].partitions[0]).is_empty());
    assert!(is_at_rest(&broker));

    send_astray(&mut broker, conn, wire::frame(11, 2, &request));
    broker.node.disconnect(conn);
    broker.node.settle();
    assert!(is_at_rest(&broker));

    // The connection ends while the letter is still on its way.
    let conn = broker.connect(HOME.0);
    broker.node.request(conn, wire::frame(11, 3, &request));
    assert!(broker.node.misdeliver(HOME, OWNER, OTHER));
    broker.node.disconnect(conn);
    broker.node.settle();
    assert!(is_at_rest(&broker));
}
