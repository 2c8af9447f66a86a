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
