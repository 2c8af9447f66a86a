//! Members, from their assignment to their end: rules G7 to G10.

use super::*;

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
        (
            SyncGroupRequest {
                protocol_name: None,
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
    for beat in 0..5 {
        broker.node.run_ms(6_001);
        let codes = [
            heartbeat(&mut broker, &leader),
            heartbeat(&mut broker, &follower),
        ];
        if beat < 4 {
            assert_eq!(codes, [ErrorCode::None; 2], "they are assigning");
        }
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
fn g8_who_waits_for_its_assignment_is_alive() {
    let mut broker = broker();
    let ([leader, follower], conns) = pair(&mut broker);
    let waits = broker.send(conns[1], 3, &sync(&follower, &[]));
    for _ in 0..3 {
        broker.node.run_ms(8_000);
        assert_eq!(heartbeat(&mut broker, &leader), ErrorCode::None);
    }
    let assigned = [(&follower.member_id, &b"late"[..])];
    let leads = broker.send(conns[0], 3, &sync(&leader, &assigned));
    broker.expect::<SyncGroupRequest>(conns[0], 3, leads);
    let synced = broker.expect::<SyncGroupRequest>(conns[1], 3, waits);
    assert_eq!(
        (synced.error_code, &synced.assignment[..]),
        (ErrorCode::None, &b"late"[..])
    );
    assert_eq!(state(&mut broker), "Stable");

    // From now on one of them says nothing: the other is to join again.
    broker.node.run_ms(6_000);
    assert_eq!(heartbeat(&mut broker, &leader), ErrorCode::None);
    broker.node.run_ms(4_001);
    assert_eq!(
        heartbeat(&mut broker, &leader),
        ErrorCode::RebalanceInProgress
    );
    assert_eq!(
        heartbeat(&mut broker, &follower),
        ErrorCode::UnknownMemberId
    );
}

#[test]
fn g8_nobody_beats_for_a_group_that_is_not_there() {
    let mut broker = broker();
    let nobody = JoinGroupResponse {
        member_id: "nobody".into(),
        ..JoinGroupResponse::default()
    };
    assert_eq!(heartbeat(&mut broker, &nobody), ErrorCode::UnknownMemberId);
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
    let request = JoinGroupRequest {
        member_id: joined.member_id.clone(),
        ..static_join("one")
    };
    assert_eq!(
        broker.call(5, &request).error_code,
        ErrorCode::FencedInstanceId
    );
    assert_eq!(state(&mut broker), "Stable", "nobody noticed");
    // It stays until its session ends.
    broker.node.run_ms(9_000);
    assert_eq!(state(&mut broker), "Stable");
    broker.node.run_ms(1_001);
    assert_eq!(state(&mut broker), "Empty");
}

#[test]
fn g9_a_static_member_begins_a_rebalance_only_where_the_group_would_speak_another_protocol() {
    let mut broker = broker();
    let speaking = |names: &[&str]| JoinGroupRequest {
        protocols: names
            .iter()
            .map(|name| JoinGroupProtocol {
                name: (*name).into(),
                metadata: Bytes::copy_from_slice(name.as_bytes()),
            })
            .collect(),
        ..static_join("one")
    };
    let joined = broker.call(5, &speaking(&["a", "b"]));
    assert_eq!(joined.protocol_name.as_deref(), Some("a"));
    broker.call(5, &sync(&joined, &[]));
    let mut wishes = speaking(&["a", "c"]);
    wishes.protocols[0].metadata = Bytes::from_static(b"other");
    let same = broker.call(5, &wishes);
    assert_eq!(same.generation_id, joined.generation_id);
    let other = broker.call(5, &speaking(&["c"]));
    assert_eq!(
        (other.error_code, other.generation_id),
        (ErrorCode::None, joined.generation_id + 1)
    );
    assert_eq!(other.protocol_name.as_deref(), Some("c"));
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
