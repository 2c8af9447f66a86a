//! Coordinators and joins: rules G1 to G3.

use super::*;

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
    for session_timeout_ms in [6_000, 1_800_000] {
        let lawful = JoinGroupRequest {
            group_id: format!("session-{session_timeout_ms}").into(),
            session_timeout_ms,
            ..base()
        };
        assert_eq!(refused(&mut broker, lawful), ErrorCode::None);
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
fn a2_g3_a_dynamic_member_comes_back_with_the_id_it_was_given() {
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
