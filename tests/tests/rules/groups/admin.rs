//! Groups from outside: rules G13 and G14.

use super::*;

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
fn g14_what_members_said_is_shown_once_the_group_is_stable() {
    let mut broker = broker();
    let ([leader, follower], conns) = pair(&mut broker);
    let during = described(&mut broker);
    assert_eq!(
        (&*during.group_state, during.members.len()),
        ("CompletingRebalance", 2)
    );
    assert!(during.protocol_data.is_empty());
    for member in &during.members {
        assert!(member.member_metadata.is_empty());
        assert!(member.member_assignment.is_empty());
    }
    let waits = broker.send(conns[1], 3, &sync(&follower, &[]));
    let assigned = [
        (&leader.member_id, &b"l"[..]),
        (&follower.member_id, &b"f"[..]),
    ];
    let leads = broker.send(conns[0], 3, &sync(&leader, &assigned));
    broker.expect::<SyncGroupRequest>(conns[1], 3, waits);
    broker.expect::<SyncGroupRequest>(conns[0], 3, leads);
    let stable = described(&mut broker);
    assert_eq!(
        (&*stable.group_state, &*stable.protocol_data),
        ("Stable", "range")
    );
    for member in &stable.members {
        assert_eq!(member.member_metadata, subscription(&["t"]));
        assert_eq!(member.member_assignment.len(), 1);
    }
    broker.send(conns[0], 5, &join(&leader.member_id));
    let during = described(&mut broker);
    assert_eq!(during.group_state, "PreparingRebalance");
    assert!(
        during
            .members
            .iter()
            .all(|one| one.member_metadata.is_empty())
    );
    let listed = broker.call(
        4,
        &ListGroupsRequest {
            states_filter: vec!["PreparingRebalance".into()],
            ..ListGroupsRequest::default()
        },
    );
    assert_eq!(listed.groups.len(), 1);
    assert_eq!(listed.groups[0].group_state, "PreparingRebalance");
}
