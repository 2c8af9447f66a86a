//! Classic groups: rules G1-G15.

use bytes::Bytes;
use millstream_engine::machine::group::GroupConfig;
use millstream_net::wire::api::*;
use millstream_net::wire::consumer_protocol::ConsumerSubscription;
use millstream_net::wire::{ErrorCode, Str, Uuid};
use millstream_tests::sim::broker::Broker;
use millstream_tests::sim::node::{Conn, NodeConfig};
use std::sync::Arc;

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
        assignments: assigned.collect(),
        ..SyncGroupRequest::default()
    }
}

fn heartbeat(broker: &mut Broker, joined: &JoinGroupResponse) -> ErrorCode {
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
    let request = DescribeGroupsRequest {
        groups: vec![GROUP.into()],
        ..DescribeGroupsRequest::default()
    };
    broker.call(5, &request).groups[0].group_state.clone()
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

#[test]
fn g1_the_first_question_has_the_topic_made_and_every_version_is_answered() {
    let mut broker = Broker::new(config(0));
    let keys: Vec<Str> = vec![GROUP.into(), "other".into()];
    let many = FindCoordinatorRequest {
        coordinator_keys: keys.clone(),
        ..FindCoordinatorRequest::default()
    };
    let response = broker.call(6, &many);
    for coordinator in &response.coordinators {
        assert_eq!(coordinator.error_code, ErrorCode::CoordinatorNotAvailable);
    }
    for version in 0..=6 {
        let request = FindCoordinatorRequest {
            key: GROUP.into(),
            ..many.clone()
        };
        let response = broker.call(version, &request);
        if version < 4 {
            assert_eq!(
                (response.error_code, response.node_id),
                (ErrorCode::None, 1)
            );
            continue;
        }
        let told = response.coordinators.iter().map(|one| one.key.clone());
        assert_eq!(told.collect::<Vec<_>>(), keys);
        assert!(response.coordinators.iter().all(|one| one.node_id == 1));
    }
    for key_type in [1, 2, 9] {
        let request = FindCoordinatorRequest {
            key_type,
            ..many.clone()
        };
        let response = broker.call(6, &request);
        assert_eq!(
            response.coordinators[0].error_code,
            ErrorCode::InvalidRequest
        );
    }
    let topic = broker.call(
        9,
        &millstream_tests::wire::metadata(&["__consumer_offsets"]),
    );
    assert_eq!(
        (
            topic.topics[0].partitions.len(),
            topic.topics[0].is_internal
        ),
        (3, true)
    );
}

#[test]
fn g1_without_the_topic_no_broker_is_the_coordinator() {
    let mut broker = Broker::new(config(0));
    broker.create("t", 1, &[]);
    let joined = broker.call(5, &join(&Str::default()));
    assert_eq!(joined.error_code, ErrorCode::NotCoordinator);
    let code = committed(&mut broker, 8, &commit(None, 1));
    assert_eq!(code, ErrorCode::NotCoordinator);
    let listed = broker.call(5, &ListGroupsRequest::default());
    assert_eq!(
        (listed.error_code, listed.groups.len()),
        (ErrorCode::None, 0)
    );
}

#[test]
fn g2_unlawful_joins_are_refused_each_with_its_code() {
    let mut broker = broker();
    let refused =
        |broker: &mut Broker, request: JoinGroupRequest| broker.call(3, &request).error_code;
    let base = || join(&Str::default());
    let cases = [
        (
            JoinGroupRequest {
                group_id: "".into(),
                ..base()
            },
            ErrorCode::InvalidGroupId,
        ),
        (
            JoinGroupRequest {
                group_id: "x".repeat(9_000).into(),
                ..base()
            },
            ErrorCode::InvalidGroupId,
        ),
        (
            JoinGroupRequest {
                session_timeout_ms: 5_999,
                ..base()
            },
            ErrorCode::InvalidSessionTimeout,
        ),
        (
            JoinGroupRequest {
                session_timeout_ms: 1_800_001,
                ..base()
            },
            ErrorCode::InvalidSessionTimeout,
        ),
        (join(&"nobody".into()), ErrorCode::UnknownMemberId),
        (
            JoinGroupRequest {
                protocols: Vec::new(),
                ..base()
            },
            ErrorCode::InconsistentGroupProtocol,
        ),
        (
            JoinGroupRequest {
                protocol_type: "".into(),
                ..base()
            },
            ErrorCode::InconsistentGroupProtocol,
        ),
    ];
    for (request, code) in cases {
        assert_eq!(refused(&mut broker, request), code);
    }
    alone(&mut broker);
    let other_type = JoinGroupRequest {
        protocol_type: "connect".into(),
        ..base()
    };
    assert_eq!(
        refused(&mut broker, other_type),
        ErrorCode::InconsistentGroupProtocol
    );
    let mut other = base();
    other.protocols[0].name = "sticky".into();
    assert_eq!(
        refused(&mut broker, other),
        ErrorCode::InconsistentGroupProtocol
    );
}

#[test]
fn g2_a_full_group_takes_nobody() {
    let mut broker = broker_with_delay(3_000);
    let conns: Vec<Conn> = (0..3).map(|_| broker.connect(0)).collect();
    for conn in &conns {
        broker.send(*conn, 3, &join(&Str::default()));
    }
    let refused = broker.call(3, &join(&Str::default()));
    assert_eq!(refused.error_code, ErrorCode::GroupMaxSizeReached);
}

#[test]
fn g3_a_dynamic_member_comes_back_with_the_id_it_was_given() {
    let mut broker = broker();
    let told = broker.call(4, &join(&Str::default()));
    assert_eq!(told.error_code, ErrorCode::MemberIdRequired);
    assert!(told.member_id.starts_with("test-"), "{}", told.member_id);
    assert_eq!(state(&mut broker), "Empty");
    let joined = broker.call(4, &join(&told.member_id));
    assert_eq!(
        (joined.error_code, joined.generation_id),
        (ErrorCode::None, 1)
    );
    // Before version 4 it joins at once.
    let mut broker = self::broker();
    for version in 0..4 {
        let request = JoinGroupRequest {
            group_id: format!("g{version}").into(),
            ..join(&Str::default())
        };
        let joined = broker.call(version, &request);
        assert_eq!(
            (joined.error_code, joined.generation_id),
            (ErrorCode::None, 1)
        );
        assert_eq!(joined.members.len(), 1, "the leader sees the members");
    }
    // An id that is not used is forgotten.
    let told = broker.call(4, &join(&Str::default()));
    broker.node.run_ms(10_001);
    let late = broker.call(4, &join(&told.member_id));
    assert_eq!(late.error_code, ErrorCode::UnknownMemberId);
}

#[test]
fn g4_the_first_join_waits_for_others() {
    let mut broker = broker_with_delay(3_000);
    let conns = [broker.connect(0), broker.connect(1)];
    let first = broker.send(conns[0], 3, &join(&Str::default()));
    broker.node.run_ms(2_000);
    let second = broker.send(conns[1], 3, &join(&Str::default()));
    broker.node.run_ms(1_500);
    assert!(
        broker.next(conns[0]).is_none(),
        "the second join prolonged it"
    );
    broker.node.run_ms(3_000);
    let joined = broker.expect::<JoinGroupRequest>(conns[0], 3, first);
    let other = broker.expect::<JoinGroupRequest>(conns[1], 3, second);
    assert_eq!((joined.generation_id, other.generation_id), (1, 1));
    assert_eq!(joined.members.len() + other.members.len(), 2);
}

#[test]
fn g5_who_does_not_join_again_in_time_is_dropped() {
    let mut broker = broker();
    let first = alone(&mut broker);
    let conn = broker.connect(1);
    let sent = broker.send(conn, 3, &join(&Str::default()));
    assert!(broker.next(conn).is_none(), "it waits for the other");
    assert_eq!(
        heartbeat(&mut broker, &first),
        ErrorCode::RebalanceInProgress
    );
    for _ in 0..4 {
        broker.node.run_ms(7_000);
        heartbeat(&mut broker, &first);
    }
    broker.node.run_ms(3_000);
    let joined = broker.expect::<JoinGroupRequest>(conn, 3, sent);
    assert_eq!(
        (joined.error_code, joined.generation_id),
        (ErrorCode::None, 2)
    );
    assert_eq!(joined.members.len(), 1);
    assert_eq!(heartbeat(&mut broker, &first), ErrorCode::UnknownMemberId);
}

#[test]
fn g5_the_protocol_is_one_that_all_speak_and_most_like() {
    let mut broker = broker();
    let conns = [broker.connect(0), broker.connect(1), broker.connect(0)];
    let likes = [["a", "b", "x"], ["b", "a", "y"], ["b", "a", "z"]];
    let mut sent = Vec::new();
    for (conn, names) in conns.iter().zip(likes) {
        let told = broker.send(*conn, 4, &join(&Str::default()));
        let told = broker.expect::<JoinGroupRequest>(*conn, 4, told);
        let protocols = names.map(|name| JoinGroupProtocol {
            name: name.into(),
            metadata: Bytes::copy_from_slice(name.as_bytes()),
        });
        sent.push(JoinGroupRequest {
            protocols: protocols.to_vec(),
            ..join(&told.member_id)
        });
    }
    let ids: Vec<i32> = (0..3)
        .map(|at| broker.send(conns[at], 7, &sent[at]))
        .collect();
    for (conn, id) in conns.iter().zip(ids) {
        let joined = broker.expect::<JoinGroupRequest>(*conn, 7, id);
        assert_eq!(joined.protocol_name.as_deref(), Some("b"));
        assert_eq!(joined.protocol_type.as_deref(), Some("consumer"));
        for member in joined.members {
            assert_eq!(&member.metadata[..], b"b");
        }
    }
}

#[test]
fn g6_in_a_stable_group_only_the_leader_and_who_changed_begin_a_rebalance() {
    let mut broker = broker();
    let ([leader, follower], conns) = pair(&mut broker);
    let assigned = [
        (&leader.member_id, &b"l"[..]),
        (&follower.member_id, &b"f"[..]),
    ];
    let waits = broker.send(conns[1], 3, &sync(&follower, &[]));
    let leads = broker.send(conns[0], 3, &sync(&leader, &assigned));
    let synced = broker.expect::<SyncGroupRequest>(conns[1], 3, waits);
    assert_eq!(&synced.assignment[..], b"f");
    broker.expect::<SyncGroupRequest>(conns[0], 3, leads);
    assert_eq!(state(&mut broker), "Stable");

    let again = broker.call(5, &join(&follower.member_id));
    assert_eq!(
        again.generation_id, leader.generation_id,
        "nothing has changed"
    );
    assert!(again.members.is_empty());

    let mut changed = join(&follower.member_id);
    changed.protocols[0].metadata = Bytes::from_static(b"other");
    let sent = broker.send(conns[1], 5, &changed);
    assert_eq!(
        heartbeat(&mut broker, &leader),
        ErrorCode::RebalanceInProgress
    );
    let back = broker.send(conns[0], 5, &join(&leader.member_id));
    let joined = broker.expect::<JoinGroupRequest>(conns[0], 5, back);
    broker.expect::<JoinGroupRequest>(conns[1], 5, sent);
    assert_eq!(joined.generation_id, leader.generation_id + 1);
}

#[test]
fn g7_sync_is_judged_by_generation_member_phase_and_protocol() {
    let mut broker = broker();
    let ([leader, follower], conns) = pair(&mut broker);
    let base = || sync(&leader, &[]);
    let cases = [
        (
            SyncGroupRequest {
                generation_id: 9,
                ..base()
            },
            ErrorCode::IllegalGeneration,
        ),
        (
            SyncGroupRequest {
                member_id: "nobody".into(),
                ..base()
            },
            ErrorCode::UnknownMemberId,
        ),
        (
            SyncGroupRequest {
                group_id: "nothing".into(),
                ..base()
            },
            ErrorCode::UnknownMemberId,
        ),
        (
            SyncGroupRequest {
                protocol_type: Some("connect".into()),
                ..base()
            },
            ErrorCode::InconsistentGroupProtocol,
        ),
        (
            SyncGroupRequest {
                protocol_name: Some("sticky".into()),
                ..base()
            },
            ErrorCode::InconsistentGroupProtocol,
        ),
    ];
    for (request, code) in cases {
        assert_eq!(broker.call(5, &request).error_code, code);
    }
    let waits = broker.send(conns[1], 3, &sync(&follower, &[]));
    assert!(broker.next(conns[1]).is_none(), "it waits for the leader");
    // A rebalance ends the wait.
    let other = broker.connect(0);
    broker.send(other, 3, &join(&Str::default()));
    let synced = broker.expect::<SyncGroupRequest>(conns[1], 3, waits);
    assert_eq!(synced.error_code, ErrorCode::RebalanceInProgress);
    let during = broker.call(5, &base());
    assert_eq!(during.error_code, ErrorCode::RebalanceInProgress);
}

#[test]
fn g7_members_that_never_ask_for_their_assignment_are_dropped() {
    let mut broker = broker();
    let ([leader, follower], conns) = pair(&mut broker);
    let sent = broker.send(conns[0], 3, &sync(&leader, &[]));
    let synced = broker.expect::<SyncGroupRequest>(conns[0], 3, sent);
    assert_eq!(
        (synced.error_code, synced.assignment.len()),
        (ErrorCode::None, 0)
    );
    for _ in 0..5 {
        broker.node.run_ms(6_001);
        heartbeat(&mut broker, &leader);
        heartbeat(&mut broker, &follower);
    }
    assert_eq!(
        heartbeat(&mut broker, &follower),
        ErrorCode::UnknownMemberId
    );
    assert_eq!(
        heartbeat(&mut broker, &leader),
        ErrorCode::RebalanceInProgress
    );
}

#[test]
fn g8_a_member_that_gives_no_sign_of_life_is_removed() {
    let mut broker = broker();
    let joined = alone(&mut broker);
    for _ in 0..3 {
        broker.node.run_ms(9_000);
        assert_eq!(heartbeat(&mut broker, &joined), ErrorCode::None);
    }
    let mut wrong = joined.clone();
    wrong.generation_id = 7;
    assert_eq!(heartbeat(&mut broker, &wrong), ErrorCode::IllegalGeneration);
    broker.node.run_ms(10_001);
    assert_eq!(heartbeat(&mut broker, &joined), ErrorCode::UnknownMemberId);
    assert_eq!(state(&mut broker), "Empty");
}

#[test]
fn g9_a_static_member_comes_back_without_a_rebalance_and_its_former_self_is_fenced() {
    let mut broker = broker();
    let joined = broker.call(5, &static_join("one"));
    assert_eq!(joined.error_code, ErrorCode::None);
    assert!(joined.member_id.starts_with("one-"));
    let synced = broker.call(5, &sync(&joined, &[(&joined.member_id, b"mine")]));
    assert_eq!(synced.error_code, ErrorCode::None);
    for (version, skips) in [(8, false), (9, true)] {
        let back = broker.call(version, &static_join("one"));
        let told = (back.error_code, back.generation_id, back.skip_assignment);
        assert_eq!(told, (ErrorCode::None, joined.generation_id, skips));
        assert_eq!(back.leader == back.member_id, skips);
        let synced = broker.call(5, &sync(&back, &[]));
        assert_eq!(&synced.assignment[..], b"mine");
    }
    let mut request = sync(&joined, &[]);
    request.group_instance_id = Some("one".into());
    assert_eq!(
        broker.call(5, &request).error_code,
        ErrorCode::FencedInstanceId
    );
    let request = HeartbeatRequest {
        group_id: GROUP.into(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        group_instance_id: Some("one".into()),
    };
    assert_eq!(
        broker.call(4, &request).error_code,
        ErrorCode::FencedInstanceId
    );
    let mut request = commit(Some(&joined), 1);
    request.group_instance_id = Some("one".into());
    assert_eq!(
        committed(&mut broker, 8, &request),
        ErrorCode::FencedInstanceId
    );
}

#[test]
fn g10_members_leave_by_either_name() {
    let mut broker = broker();
    let one = |member: &Str, instance: Option<&str>| LeavingMember {
        member_id: member.clone(),
        group_instance_id: instance.map(Str::from),
        reason: None,
    };
    let leave = |members: Vec<LeavingMember>| LeaveGroupRequest {
        group_id: GROUP.into(),
        members,
        ..LeaveGroupRequest::default()
    };
    let none = Str::default();
    let unknown = broker.call(5, &leave(vec![one(&none, Some("one"))]));
    let told = (unknown.error_code, unknown.members[0].error_code);
    assert_eq!(told, (ErrorCode::None, ErrorCode::UnknownMemberId));
    let joined = broker.call(5, &static_join("one"));
    let left = broker.call(
        5,
        &leave(vec![
            one(&"other".into(), Some("one")),
            one(&none, Some("two")),
            one(&"nobody".into(), None),
            one(&none, Some("one")),
        ]),
    );
    let codes: Vec<_> = left.members.iter().map(|one| one.error_code).collect();
    let unknown = ErrorCode::UnknownMemberId;
    assert_eq!(
        codes,
        [
            ErrorCode::FencedInstanceId,
            unknown,
            unknown,
            ErrorCode::None
        ]
    );
    assert_eq!(heartbeat(&mut broker, &joined), ErrorCode::UnknownMemberId);

    let joined = alone(&mut broker);
    let request = LeaveGroupRequest {
        member_id: joined.member_id.clone(),
        ..leave(Vec::new())
    };
    assert_eq!(broker.call(2, &request).error_code, ErrorCode::None);
    assert_eq!(
        broker.call(2, &request).error_code,
        ErrorCode::UnknownMemberId
    );
}

#[test]
fn g11_commits_are_judged_by_member_generation_and_phase() {
    let mut broker = broker();
    assert_eq!(
        committed(&mut broker, 8, &commit(None, 5)),
        ErrorCode::None,
        "a simple group"
    );
    let joined = alone(&mut broker);
    let unknown = committed(&mut broker, 8, &commit(None, 5));
    assert_eq!(
        unknown,
        ErrorCode::UnknownMemberId,
        "from outside of a live group"
    );
    let mut wrong = commit(Some(&joined), 6);
    wrong.generation_id_or_member_epoch = 9;
    assert_eq!(
        committed(&mut broker, 8, &wrong),
        ErrorCode::IllegalGeneration
    );
    for (version, code) in [
        (8, ErrorCode::IllegalGeneration),
        (9, ErrorCode::GroupIdNotFound),
    ] {
        let mut missing = commit(Some(&joined), 6);
        missing.group_id = "missing".into();
        assert_eq!(committed(&mut broker, version, &missing), code);
    }
    let mut long = commit(Some(&joined), 6);
    long.topics[0].partitions[0].committed_metadata = Some("x".repeat(4_097).into());
    assert_eq!(
        committed(&mut broker, 8, &long),
        ErrorCode::OffsetMetadataTooLarge
    );
    let mut absent = commit(Some(&joined), 6);
    absent.topics[0].partitions[0].partition_index = 2;
    assert_eq!(
        committed(&mut broker, 8, &absent),
        ErrorCode::UnknownTopicOrPartition
    );
    absent.topics[0].name = "absent".into();
    assert_eq!(
        committed(&mut broker, 8, &absent),
        ErrorCode::UnknownTopicOrPartition
    );
    absent.topics[0].topic_id = Uuid([7; 16]);
    assert_eq!(
        committed(&mut broker, 10, &absent),
        ErrorCode::UnknownTopicId
    );
    assert_eq!(
        committed(&mut broker, 8, &commit(Some(&joined), 7)),
        ErrorCode::None
    );
    assert_eq!(fetched(&mut broker), (7, "note".into()));

    let mut broker = self::broker();
    let ([leader, _], _) = pair(&mut broker);
    let during = committed(&mut broker, 8, &commit(Some(&leader), 8));
    assert_eq!(during, ErrorCode::RebalanceInProgress);
}

#[test]
fn g11_acknowledged_commits_survive_a_kill_and_the_group_with_them() {
    let mut broker = broker();
    let joined = alone(&mut broker);
    assert_eq!(
        committed(&mut broker, 8, &commit(Some(&joined), 42)),
        ErrorCode::None
    );
    let mut broker = broker.restart();
    assert_eq!(fetched(&mut broker), (42, "note".into()));
    assert_eq!(state(&mut broker), "Stable");
    assert_eq!(heartbeat(&mut broker, &joined), ErrorCode::None);
    let synced = broker.call(5, &sync(&joined, &[]));
    assert_eq!(&synced.assignment[..], b"all");
    assert_eq!(
        committed(&mut broker, 8, &commit(Some(&joined), 43)),
        ErrorCode::None
    );
    broker.node.run_ms(10_001);
    assert_eq!(
        state(&mut broker),
        "Empty",
        "its session began anew with the restart"
    );
}

#[test]
fn g12_where_nothing_was_committed_there_is_no_error() {
    let mut broker = broker();
    assert_eq!(fetched(&mut broker), (-1, Str::default()));
    let topic = OffsetFetchTopic {
        name: "absent".into(),
        partition_indexes: vec![0, 7],
    };
    for version in 1..8 {
        let request = OffsetFetchRequest {
            group_id: GROUP.into(),
            topics: Some(vec![topic.clone()]),
            ..OffsetFetchRequest::default()
        };
        let response = broker.call(version, &request);
        assert_eq!(response.error_code, ErrorCode::None);
        for partition in &response.topics[0].partitions {
            let told = (partition.committed_offset, partition.committed_leader_epoch);
            assert_eq!((told, partition.error_code), ((-1, -1), ErrorCode::None));
        }
    }
    committed(&mut broker, 8, &commit(None, 3));
    for version in 2..8 {
        let request = OffsetFetchRequest {
            group_id: GROUP.into(),
            topics: None,
            ..OffsetFetchRequest::default()
        };
        let response = broker.call(version, &request);
        assert_eq!(response.topics.len(), 1, "null is everything");
        assert_eq!(response.topics[0].partitions[0].committed_offset, 3);
    }
}

#[test]
fn offsets_go_with_their_topic_and_a_later_one_of_the_name_has_none() {
    let mut broker = broker();
    committed(&mut broker, 8, &commit(None, 3));
    let request = DeleteTopicsRequest {
        topic_names: vec!["t".into()],
        timeout_ms: 1_000,
        ..DeleteTopicsRequest::default()
    };
    broker.call(4, &request);
    assert_eq!(fetched(&mut broker), (-1, Str::default()));
    broker.create("t", 2, &[]);
    assert_eq!(fetched(&mut broker), (-1, Str::default()));
    let mut broker = broker.restart();
    assert_eq!(fetched(&mut broker), (-1, Str::default()));
}

#[test]
fn g13_offsets_and_groups_in_use_cannot_be_deleted() {
    let mut broker = broker();
    let offsets = |group: &str| OffsetDeleteRequest {
        group_id: group.into(),
        topics: vec![OffsetDeleteTopic {
            name: "t".into(),
            partitions: vec![OffsetDeletePartition { partition_index: 0 }],
        }],
    };
    let groups = DeleteGroupsRequest {
        groups_names: vec![GROUP.into(), "missing".into()],
    };
    let missing = broker.call(0, &offsets("missing"));
    assert_eq!(missing.error_code, ErrorCode::GroupIdNotFound);
    let joined = alone(&mut broker);
    committed(&mut broker, 8, &commit(Some(&joined), 3));
    let used = broker.call(0, &offsets(GROUP));
    assert_eq!(
        used.topics[0].partitions[0].error_code,
        ErrorCode::GroupSubscribedToTopic
    );
    let deleted = broker.call(2, &groups);
    let codes: Vec<_> = deleted.results.iter().map(|one| one.error_code).collect();
    assert_eq!(
        codes,
        [ErrorCode::NonEmptyGroup, ErrorCode::GroupIdNotFound]
    );
    broker.node.run_ms(10_001);
    let done = broker.call(0, &offsets(GROUP));
    assert_eq!(done.topics[0].partitions[0].error_code, ErrorCode::None);
    assert_eq!(fetched(&mut broker), (-1, Str::default()));
    committed(&mut broker, 8, &commit(None, 4));
    assert_eq!(
        broker.call(2, &groups).results[0].error_code,
        ErrorCode::None
    );
    let mut broker = broker.restart();
    assert_eq!(fetched(&mut broker), (-1, Str::default()));
    assert_eq!(state(&mut broker), "Dead");
}

#[test]
fn g14_groups_are_described_and_listed() {
    let mut broker = broker();
    let request = DescribeGroupsRequest {
        groups: vec![GROUP.into()],
        ..DescribeGroupsRequest::default()
    };
    let dead = &broker.call(5, &request).groups[0];
    assert_eq!(
        (dead.error_code, &*dead.group_state),
        (ErrorCode::None, "Dead")
    );
    let dead = &broker.call(6, &request).groups[0];
    assert_eq!(dead.error_code, ErrorCode::GroupIdNotFound);
    let joined = alone(&mut broker);
    for version in 0..=6 {
        let group = &broker.call(version, &request).groups[0];
        assert_eq!(
            (&*group.group_state, &*group.protocol_type),
            ("Stable", "consumer")
        );
        assert_eq!(&*group.protocol_data, "range");
        let member = &group.members[0];
        assert_eq!(
            (&member.member_id, &*member.client_id),
            (&joined.member_id, "test")
        );
        assert_eq!(member.client_host, "/127.0.0.1");
        assert_eq!(member.member_metadata, subscription(&["t"]));
        assert_eq!(&member.member_assignment[..], b"all");
    }
    let mut simple = commit(None, 1);
    simple.group_id = "simple".into();
    committed(&mut broker, 8, &simple);
    let list = |states: &[&str], types: &[&str]| ListGroupsRequest {
        states_filter: states.iter().map(|one| (*one).into()).collect(),
        types_filter: types.iter().map(|one| (*one).into()).collect(),
    };
    let cases: [(&[&str], &[&str], &[&str]); 5] = [
        (&[], &[], &["g", "simple"]),
        (&["stable"], &[], &["g"]),
        (&["Empty"], &["classic"], &["simple"]),
        (&[], &["consumer"], &[]),
        (&["Dead"], &[], &[]),
    ];
    for (states, types, expected) in cases {
        let listed = broker.call(5, &list(states, types));
        let mut names: Vec<&str> = listed.groups.iter().map(|one| &*one.group_id).collect();
        names.sort_unstable();
        assert_eq!(names, expected);
        assert!(listed.groups.iter().all(|one| one.group_type == "classic"));
    }
}

#[test]
fn g15_offsets_expire_once_nobody_needs_them() {
    let day_ms = 24 * 3_600_000;
    let mut broker = broker();
    committed(&mut broker, 8, &commit(None, 3));
    let mut kept = commit(None, 4);
    kept.retention_time_ms = 30 * day_ms;
    kept.topics[0].partitions[0].partition_index = 1;
    committed(&mut broker, 4, &kept);
    broker.node.run_ms(8 * day_ms as u64);
    // Connections that were quiet so long are closed.
    let mut broker = broker.restart();
    assert_eq!(fetched(&mut broker), (-1, Str::default()));
    assert_eq!(state(&mut broker), "Empty", "one offset is kept longer");
    broker.node.run_ms(23 * day_ms as u64);
    let mut broker = broker.restart();
    assert_eq!(state(&mut broker), "Dead");
}

#[test]
fn a_log_of_offsets_that_were_overwritten_is_replaced_by_those_that_count() {
    let mut config = config(0);
    config.settings.groups = Arc::new(GroupConfig {
        rewrite_bytes: 4_096,
        ..GroupConfig::default()
    });
    config.controller.offsets_partitions = 1;
    let mut broker = Broker::new(config);
    broker.create("t", 2, &[]);
    find(&mut broker);
    for offset in 0..200 {
        assert_eq!(
            committed(&mut broker, 8, &commit(None, offset)),
            ErrorCode::None
        );
    }
    let asked = millstream_tests::wire::list_offsets("__consumer_offsets", 0, -2);
    let beginning = broker.list_offsets(5, &asked).offset;
    assert!(beginning > 100, "{beginning}");
    let mut broker = broker.restart();
    assert_eq!(fetched(&mut broker), (199, "note".into()));
}
