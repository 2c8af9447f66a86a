//! Classic groups: rules G1-G15.

use bytes::Bytes;
use millstream_engine::machine::group::GroupConfig;
use millstream_net::wire::api::*;
use millstream_net::wire::consumer_protocol::ConsumerSubscription;
use millstream_net::wire::{Call, ErrorCode, Str, Uuid};
use millstream_tests::sim::broker::Broker;
use millstream_tests::sim::node::{Conn, NodeConfig};
use std::sync::Arc;

mod admin;
mod hostile;
mod joining;
mod loading;
mod members;
mod offsets;
mod rounds;

const GROUP: &str = "g";

fn config(delay_ms: u64) -> NodeConfig {
    let mut config = NodeConfig::default();
    config.settings.groups = Arc::new(GroupConfig {
        initial_delay_ms: delay_ms,
        size_max: 3,
        ..GroupConfig::default()
    });
    config.controller.offsets_partitions = 3;
    config
}

fn broker_with_delay(delay_ms: u64) -> Broker {
    let mut broker = Broker::new(config(delay_ms));
    broker.create("t", 2, &[]);
    find(&mut broker);
    broker
}

fn broker() -> Broker {
    broker_with_delay(0)
}

/// Asks for the coordinator until there is one.
fn find(broker: &mut Broker) {
    let request = FindCoordinatorRequest {
        key: GROUP.into(),
        ..FindCoordinatorRequest::default()
    };
    for _ in 0..3 {
        let found = broker.call(3, &request);
        if found.error_code == ErrorCode::None {
            assert_eq!(found.node_id, 1);
            return;
        }
        assert_eq!(found.error_code, ErrorCode::CoordinatorNotAvailable);
    }
    panic!("the coordinator never comes");
}

fn subscription(topics: &[&str]) -> Bytes {
    let subscription = ConsumerSubscription {
        topics: topics.iter().map(|topic| (*topic).into()).collect(),
        ..ConsumerSubscription::default()
    };
    subscription.encode(0)
}

fn join(member_id: &Str) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: GROUP.into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 30_000,
        member_id: member_id.clone(),
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupProtocol {
            name: "range".into(),
            metadata: subscription(&["t"]),
        }],
        ..JoinGroupRequest::default()
    }
}

fn static_join(instance: &str) -> JoinGroupRequest {
    JoinGroupRequest {
        group_instance_id: Some(instance.into()),
        ..join(&Str::default())
    }
}

fn sync(joined: &JoinGroupResponse, assigned: &[(&Str, &'static [u8])]) -> SyncGroupRequest {
    let assigned = assigned.iter().map(|(member, bytes)| SyncGroupAssignment {
        member_id: (*member).clone(),
        assignment: Bytes::from_static(bytes),
    });
    SyncGroupRequest {
        group_id: GROUP.into(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        protocol_type: Some("consumer".into()),
        protocol_name: joined.protocol_name.clone(),
        assignments: assigned.collect(),
        ..SyncGroupRequest::default()
    }
}

pub(super) fn heartbeat(broker: &mut Broker, joined: &JoinGroupResponse) -> ErrorCode {
    let request = HeartbeatRequest {
        group_id: GROUP.into(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        ..HeartbeatRequest::default()
    };
    broker.call(4, &request).error_code
}

fn commit(joined: Option<&JoinGroupResponse>, offset: i64) -> OffsetCommitRequest {
    OffsetCommitRequest {
        group_id: GROUP.into(),
        generation_id_or_member_epoch: joined.map_or(-1, |joined| joined.generation_id),
        member_id: joined.map_or(Str::default(), |joined| joined.member_id.clone()),
        topics: vec![OffsetCommitTopic {
            name: "t".into(),
            partitions: vec![OffsetCommitPartition {
                partition_index: 0,
                committed_offset: offset,
                committed_metadata: Some("note".into()),
                ..OffsetCommitPartition::default()
            }],
            ..OffsetCommitTopic::default()
        }],
        ..OffsetCommitRequest::default()
    }
}

fn committed(broker: &mut Broker, version: i16, request: &OffsetCommitRequest) -> ErrorCode {
    let response = broker.call(version, request);
    response.topics[0].partitions[0].error_code
}

/// Offset and metadata of partition 0.
fn fetched(broker: &mut Broker) -> (i64, Str) {
    let request = OffsetFetchRequest {
        groups: vec![OffsetFetchGroup {
            group_id: GROUP.into(),
            topics: Some(vec![OffsetFetchGroupTopic {
                name: "t".into(),
                partition_indexes: vec![0],
                ..OffsetFetchGroupTopic::default()
            }]),
            ..OffsetFetchGroup::default()
        }],
        ..OffsetFetchRequest::default()
    };
    let response = broker.call(8, &request);
    assert_eq!(response.groups[0].error_code, ErrorCode::None);
    let partition = &response.groups[0].topics[0].partitions[0];
    assert_eq!(partition.error_code, ErrorCode::None);
    let metadata = partition.metadata.clone();
    (partition.committed_offset, metadata.unwrap_or_default())
}

fn state(broker: &mut Broker) -> Str {
    described(broker).group_state
}

fn described(broker: &mut Broker) -> DescribedGroup {
    let request = DescribeGroupsRequest {
        groups: vec![GROUP.into()],
        ..DescribeGroupsRequest::default()
    };
    broker.call(5, &request).groups.remove(0)
}

/// A member of a group of one, after its first join and sync.
fn alone(broker: &mut Broker) -> JoinGroupResponse {
    let conn = broker.conn();
    let first = broker.call(5, &join(&Str::default()));
    assert_eq!(first.error_code, ErrorCode::MemberIdRequired);
    let id = broker.send(conn, 9, &join(&first.member_id));
    let joined = broker.expect::<JoinGroupRequest>(conn, 9, id);
    assert_eq!(joined.error_code, ErrorCode::None);
    let synced = broker.call(5, &sync(&joined, &[(&joined.member_id, b"all")]));
    assert_eq!(
        (synced.error_code, &synced.assignment[..]),
        (ErrorCode::None, &b"all"[..])
    );
    joined
}

/// Two members of one generation, both joined, not synced; the leader first.
fn pair(broker: &mut Broker) -> ([JoinGroupResponse; 2], [Conn; 2]) {
    let conns = [broker.connect(0), broker.connect(1)];
    let ids = conns.map(|conn| {
        let sent = broker.send(conn, 5, &join(&Str::default()));
        let told = broker.expect::<JoinGroupRequest>(conn, 5, sent);
        told.member_id
    });
    let first = broker.send(conns[0], 5, &join(&ids[0]));
    let second = broker.send(conns[1], 5, &join(&ids[1]));
    let joined = [
        broker.expect::<JoinGroupRequest>(conns[0], 5, first),
        broker.expect::<JoinGroupRequest>(conns[1], 5, second),
    ];
    assert_eq!(joined[0].generation_id, joined[1].generation_id);
    match joined[0].leader == joined[0].member_id {
        true => (joined, conns),
        false => {
            let [a, b] = joined;
            ([b, a], [conns[1], conns[0]])
        }
    }
}
