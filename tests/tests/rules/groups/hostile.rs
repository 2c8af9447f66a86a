//! What members send that nobody should: it is refused or kept as it is, in bounded time, and other groups do not notice.

use super::*;

/// A join of another group, which goes on while this one is attacked.
fn neighbour(broker: &mut Broker) -> JoinGroupResponse {
    let joined = broker.call(3, &in_group("neighbour", join(&Str::default())));
    assert_eq!(joined.error_code, ErrorCode::None);
    let synced = broker.call(
        3,
        &SyncGroupRequest {
            group_id: "neighbour".into(),
            ..sync(&joined, &[])
        },
    );
    assert_eq!(synced.error_code, ErrorCode::None);
    joined
}

fn in_group(group: &'static str, request: JoinGroupRequest) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: group.into(),
        ..request
    }
}

fn is_well(broker: &mut Broker, neighbour: &JoinGroupResponse) {
    let request = HeartbeatRequest {
        group_id: "neighbour".into(),
        generation_id: neighbour.generation_id,
        member_id: neighbour.member_id.clone(),
        ..HeartbeatRequest::default()
    };
    assert_eq!(broker.call(4, &request).error_code, ErrorCode::None);
}

#[test]
fn a_hundred_thousand_protocols_in_one_join_are_refused() {
    let mut broker = broker();
    let neighbour = neighbour(&mut broker);
    let protocols = (0..100_000).map(|number| JoinGroupProtocol {
        name: format!("p{number}").into(),
        metadata: Bytes::from_static(b"x"),
    });
    let many = JoinGroupRequest {
        protocols: protocols.collect(),
        ..join(&Str::default())
    };
    for version in [0, 3, 5, 9] {
        let refused = broker.call(version, &many);
        assert_eq!(refused.error_code, ErrorCode::InvalidRequest);
    }
    assert_eq!(state(&mut broker), "Dead", "no group came of it");
    is_well(&mut broker, &neighbour);
    // As many as anybody has a use for are taken.
    let some = JoinGroupRequest {
        protocols: many.protocols[..100].to_vec(),
        ..many
    };
    assert_eq!(broker.call(3, &some).error_code, ErrorCode::None);
}

#[test]
fn ids_that_are_too_long_are_refused() {
    let mut broker = broker();
    let long: Str = "x".repeat(20_000).into();
    let named = JoinGroupRequest {
        group_id: long.clone(),
        ..join(&Str::default())
    };
    assert_eq!(broker.call(9, &named).error_code, ErrorCode::InvalidGroupId);
    let member = join(&long);
    assert_eq!(
        broker.call(9, &member).error_code,
        ErrorCode::InvalidRequest
    );
    let instance = JoinGroupRequest {
        group_instance_id: Some(long.clone()),
        ..join(&Str::default())
    };
    assert_eq!(
        broker.call(9, &instance).error_code,
        ErrorCode::InvalidRequest
    );
    // Those of protocols too: newer versions of the request have room for what a record has not.
    for size in [20_000, 40_000, 1_000_000] {
        let long: Str = "x".repeat(size).into();
        let mut protocol = static_join("one");
        protocol.protocols[0].name = long.clone();
        let kind = JoinGroupRequest {
            protocol_type: long,
            ..static_join("one")
        };
        for request in [protocol, kind] {
            let refused = broker.call(9, &request);
            assert_eq!(refused.error_code, ErrorCode::InvalidRequest);
        }
    }
    assert_eq!(state(&mut broker), "Dead", "no group came of it");
    let joined = alone(&mut broker);
    let beat = HeartbeatRequest {
        group_id: GROUP.into(),
        generation_id: joined.generation_id,
        member_id: long.clone(),
        ..HeartbeatRequest::default()
    };
    assert_eq!(broker.call(4, &beat).error_code, ErrorCode::UnknownMemberId);
    let simple = OffsetCommitRequest {
        group_id: long,
        ..commit(None, 1)
    };
    assert_eq!(
        committed(&mut broker, 8, &simple),
        ErrorCode::InvalidGroupId
    );
}

#[test]
fn metadata_and_assignments_are_opaque_and_come_back_as_they_were() {
    let mut broker = broker();
    let garbage: &'static [u8] = b"\xff\xff\xff\x7f\0not a subscription\xc3\x28";
    let metadata = Bytes::from_static(garbage);
    let garbled = || JoinGroupRequest {
        protocols: vec![JoinGroupProtocol {
            name: "range".into(),
            metadata: metadata.clone(),
        }],
        ..join(&Str::default())
    };
    let joined = broker.call(3, &garbled());
    assert_eq!(joined.error_code, ErrorCode::None);
    assert_eq!(joined.members[0].metadata, metadata);
    let synced = broker.call(3, &sync(&joined, &[(&joined.member_id, garbage)]));
    assert_eq!(
        (synced.error_code, &synced.assignment[..]),
        (ErrorCode::None, garbage)
    );
    let request = DescribeGroupsRequest {
        groups: vec![GROUP.into()],
        ..DescribeGroupsRequest::default()
    };
    let told = broker.call(5, &request).groups.remove(0);
    assert_eq!(told.members[0].member_metadata, metadata);
    assert_eq!(told.members[0].member_assignment, garbage);
    // A group that cannot be understood is not taken over by the other protocol, and goes on.
    let modern = ConsumerGroupHeartbeatRequest {
        group_id: GROUP.into(),
        member_id: "m".into(),
        rebalance_timeout_ms: 30_000,
        subscribed_topic_names: Some(vec!["t".into()]),
        topic_partitions: Some(Vec::new()),
        ..ConsumerGroupHeartbeatRequest::default()
    };
    assert_eq!(
        broker.call(1, &modern).error_code,
        ErrorCode::GroupIdNotFound
    );
    assert_eq!(heartbeat(&mut broker, &joined), ErrorCode::None);
    let mut broker = broker.restart();
    find(&mut broker);
    assert_eq!(heartbeat(&mut broker, &joined), ErrorCode::None);
}

#[test]
fn members_that_never_sync_are_put_out_and_the_group_next_to_them_goes_on() {
    let mut broker = broker();
    let neighbour = neighbour(&mut broker);
    let never = in_group("never", join(&Str::default()));
    let joined = broker.call(3, &never);
    assert_eq!(joined.error_code, ErrorCode::None);
    for _ in 0..5 {
        broker.node.run_ms(5_900);
        is_well(&mut broker, &neighbour);
        // It is alive, and still does not ask for its assignment.
        let beat = HeartbeatRequest {
            group_id: "never".into(),
            generation_id: joined.generation_id,
            member_id: joined.member_id.clone(),
            ..HeartbeatRequest::default()
        };
        broker.call(4, &beat);
    }
    broker.node.run_ms(5_900);
    let beat = HeartbeatRequest {
        group_id: "never".into(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        ..HeartbeatRequest::default()
    };
    assert_eq!(broker.call(4, &beat).error_code, ErrorCode::UnknownMemberId);
    is_well(&mut broker, &neighbour);
}

#[test]
fn a_static_member_that_gives_itself_no_time_to_join_again_does_not_hold_up_the_node() {
    let mut broker = broker();
    let neighbour = neighbour(&mut broker);
    let other = broker.call(3, &join(&Str::default()));
    broker.call(3, &sync(&other, &[]));
    let conns = [broker.connect(0), broker.connect(1)];
    let hasty = JoinGroupRequest {
        rebalance_timeout_ms: 0,
        ..static_join("one")
    };
    let sent = [
        broker.send(conns[0], 5, &hasty),
        broker.send(conns[1], 3, &join(&other.member_id)),
    ];
    let joined = broker.expect::<JoinGroupRequest>(conns[0], 5, sent[0]);
    let other = broker.expect::<JoinGroupRequest>(conns[1], 3, sent[1]);
    let waits = broker.send(conns[0], 3, &sync(&joined, &[]));
    broker.call(3, &sync(&other, &[]));
    let synced = broker.expect::<SyncGroupRequest>(conns[0], 3, waits);
    assert_eq!(synced.error_code, ErrorCode::None);
    // The other one goes: the hasty one is asked to join again, and has no time to.
    let leave = LeaveGroupRequest {
        group_id: GROUP.into(),
        member_id: other.member_id,
        ..LeaveGroupRequest::default()
    };
    assert_eq!(broker.call(2, &leave).error_code, ErrorCode::None);
    broker.node.run_ms(5_000);
    is_well(&mut broker, &neighbour);
    assert_eq!(state(&mut broker), "PreparingRebalance");
    // Its session ends, as everybody's.
    broker.node.run_ms(5_001);
    assert_eq!(state(&mut broker), "Empty");
}

#[test]
fn metadata_of_a_commit_is_as_long_as_a_record_can_have_it_at_most() {
    let mut config = config(0);
    config.settings.groups = Arc::new(GroupConfig {
        metadata_bytes_max: 1 << 20,
        ..GroupConfig::default()
    });
    let mut broker = Broker::new(config);
    broker.create("t", 2, &[]);
    find(&mut broker);
    let longest = i16::MAX as usize;
    for (bytes, code) in [
        (longest, ErrorCode::None),
        (longest + 1, ErrorCode::OffsetMetadataTooLarge),
    ] {
        let mut request = commit(None, 1);
        request.topics[0].partitions[0].committed_metadata = Some("x".repeat(bytes).into());
        assert_eq!(committed(&mut broker, 8, &request), code);
    }
    let mut broker = broker.restart();
    assert_eq!(fetched(&mut broker).1.len(), longest);
}

#[test]
fn a_commit_of_more_than_a_batch_can_have_is_refused_as_a_whole() {
    let mut broker = Broker::new(config(0));
    broker.create("t", 2, &[]);
    find(&mut broker);
    let neighbour = neighbour(&mut broker);
    let mut request = commit(None, 1);
    let one = request.topics[0].partitions[0].clone();
    for (entries, code) in [
        (10_000, ErrorCode::None),
        (1_000_000, ErrorCode::InvalidCommitOffsetSize),
    ] {
        request.topics[0].partitions = vec![one.clone(); entries];
        assert_eq!(committed(&mut broker, 8, &request), code);
        is_well(&mut broker, &neighbour);
    }
}

#[test]
fn a_classic_join_of_a_group_of_consumers_has_the_bounds_of_any_join() {
    let mut broker = broker();
    let modern = ConsumerGroupHeartbeatRequest {
        group_id: GROUP.into(),
        member_id: "m".into(),
        rebalance_timeout_ms: 30_000,
        subscribed_topic_names: Some(vec!["t".into()]),
        topic_partitions: Some(Vec::new()),
        ..ConsumerGroupHeartbeatRequest::default()
    };
    assert_eq!(broker.call(1, &modern).error_code, ErrorCode::None);
    let mut many = join(&Str::default());
    // A subscription to nothing, which every protocol says.
    let protocols = (0..101).map(|number| JoinGroupProtocol {
        name: format!("p{number}").into(),
        metadata: Bytes::from_static(b"\0\0\0\0\0\0\xff\xff\xff\xff"),
    });
    many.protocols = protocols.collect();
    assert_eq!(broker.call(3, &many).error_code, ErrorCode::InvalidRequest);
    many.protocols.pop();
    assert_eq!(broker.call(3, &many).error_code, ErrorCode::None);
}
