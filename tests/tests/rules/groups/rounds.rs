//! From one generation to the next: rules G4 to G6.

use super::*;

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
fn g4_joins_prolong_the_first_round_up_to_the_rebalance_timeout() {
    let mut broker = broker_with_delay(3_000);
    let hasty = JoinGroupRequest {
        rebalance_timeout_ms: 5_000,
        ..join(&Str::default())
    };
    let conns = [broker.connect(0), broker.connect(1), broker.connect(0)];
    let mut sent = vec![broker.send(conns[0], 3, &hasty)];
    broker.node.run_ms(2_000);
    sent.push(broker.send(conns[1], 3, &hasty));
    broker.node.run_ms(2_000);
    sent.push(broker.send(conns[2], 3, &hasty));
    broker.node.run_ms(900);
    assert!(broker.next(conns[0]).is_none(), "4.9 s");
    broker.node.run_ms(200);
    for (conn, sent) in conns.into_iter().zip(sent) {
        let joined = broker.expect::<JoinGroupRequest>(conn, 3, sent);
        assert_eq!(joined.generation_id, 1, "all are in it after 5 s");
    }
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
    let mut told = Vec::new();
    for (conn, id) in conns.iter().zip(ids) {
        let joined = broker.expect::<JoinGroupRequest>(*conn, 7, id);
        let leads = joined.leader == joined.member_id;
        assert_eq!(joined.members.len(), if leads { 3 } else { 0 });
        told.push(joined.leader);
        assert_eq!(joined.protocol_name.as_deref(), Some("b"));
        assert_eq!(joined.protocol_type.as_deref(), Some("consumer"));
        for member in joined.members {
            assert_eq!(&member.metadata[..], b"b");
        }
    }
    told.dedup();
    assert_eq!(told.len(), 1, "they have one leader");
}

#[test]
fn g5_the_leader_is_told_the_names_of_static_members() {
    let mut broker = broker_with_delay(3_000);
    let conns = [broker.connect(0), broker.connect(1)];
    let sent = [
        broker.send(conns[0], 5, &static_join("one")),
        broker.send(conns[1], 3, &join(&Str::default())),
    ];
    broker.node.run_ms(6_001);
    let joined = [
        broker.expect::<JoinGroupRequest>(conns[0], 5, sent[0]),
        broker.expect::<JoinGroupRequest>(conns[1], 3, sent[1]),
    ];
    // Whoever of them leads: both are told again to the static one, as the leader that it becomes when the other is gone.
    let left = LeaveGroupRequest {
        group_id: GROUP.into(),
        member_id: joined[1].member_id.clone(),
        ..LeaveGroupRequest::default()
    };
    assert_eq!(broker.call(2, &left).error_code, ErrorCode::None);
    let rejoin = JoinGroupRequest {
        member_id: joined[0].member_id.clone(),
        ..static_join("one")
    };
    let alone = broker.call(5, &rejoin);
    assert_eq!(alone.leader, joined[0].member_id);
    assert_eq!(alone.members.len(), 1);
    assert_eq!(alone.members[0].group_instance_id.as_deref(), Some("one"));
    // A request of version 4 has no place for names.
    let rejoin = broker.call(4, &join(&joined[0].member_id));
    assert_eq!(rejoin.members[0].group_instance_id, None);
}

#[test]
fn g5_the_longest_rebalance_timeout_of_them_counts() {
    let mut broker = broker();
    let patient = |request: JoinGroupRequest| JoinGroupRequest {
        session_timeout_ms: 300_000,
        rebalance_timeout_ms: 120_000,
        ..request
    };
    let joined = broker.call(3, &patient(join(&Str::default())));
    let synced = broker.call(3, &sync(&joined, &[]));
    assert_eq!(synced.error_code, ErrorCode::None);
    let conn = broker.connect(1);
    let sent = broker.send(conn, 3, &join(&Str::default()));
    broker.node.run_ms(119_000);
    assert!(broker.next(conn).is_none(), "the other has two minutes");
    broker.node.run_ms(1_001);
    let alone = broker.expect::<JoinGroupRequest>(conn, 3, sent);
    assert_eq!((alone.generation_id, alone.members.len()), (2, 1));
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
fn g6_a_leader_that_joins_again_unchanged_begins_a_rebalance() {
    let mut broker = broker();
    let ([leader, follower], conns) = pair(&mut broker);
    let waits = broker.send(conns[1], 3, &sync(&follower, &[]));
    let leads = broker.send(conns[0], 3, &sync(&leader, &[]));
    broker.expect::<SyncGroupRequest>(conns[1], 3, waits);
    broker.expect::<SyncGroupRequest>(conns[0], 3, leads);
    let again = broker.send(conns[0], 5, &join(&leader.member_id));
    assert!(broker.next(conns[0]).is_none(), "it waits for the other");
    assert_eq!(state(&mut broker), "PreparingRebalance");
    assert_eq!(
        heartbeat(&mut broker, &follower),
        ErrorCode::RebalanceInProgress
    );
    let back = broker.send(conns[1], 5, &join(&follower.member_id));
    let joined = broker.expect::<JoinGroupRequest>(conns[0], 5, again);
    broker.expect::<JoinGroupRequest>(conns[1], 5, back);
    assert_eq!(joined.generation_id, leader.generation_id + 1);
}
