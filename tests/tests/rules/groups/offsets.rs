//! Offsets of groups: rules G11, G12 and G15.

use super::*;

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
    let mut nobody = commit(Some(&joined), 6);
    nobody.member_id = "nobody".into();
    assert_eq!(
        committed(&mut broker, 8, &nobody),
        ErrorCode::UnknownMemberId
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
            assert_eq!(partition.metadata.as_deref(), Some(""));
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
fn g12_several_groups_are_asked_for_at_once_and_topics_by_id() {
    let mut broker = broker();
    let mut other = commit(None, 4);
    other.group_id = "other".into();
    other.topics[0].partitions[0].committed_metadata = None;
    for request in [commit(None, 3), other] {
        assert_eq!(committed(&mut broker, 8, &request), ErrorCode::None);
    }
    let id = broker.topic_id("t");
    let group = |name: &str| OffsetFetchGroup {
        group_id: name.into(),
        topics: Some(
            [id, Uuid([7; 16])]
                .map(|topic_id| OffsetFetchGroupTopic {
                    name: "t".into(),
                    topic_id,
                    partition_indexes: vec![0],
                })
                .to_vec(),
        ),
        ..OffsetFetchGroup::default()
    };
    let request = OffsetFetchRequest {
        groups: vec![group(GROUP), group("missing"), group("other")],
        // No transaction is under way.
        require_stable: true,
        ..OffsetFetchRequest::default()
    };
    let expected = [(3, "note"), (-1, ""), (4, "")];
    for version in 8..=10 {
        let answer = broker.call(version, &request);
        for (group, (offset, note)) in answer.groups.iter().zip(expected) {
            assert_eq!(group.error_code, ErrorCode::None);
            let told = &group.topics[0].partitions[0];
            let (metadata, code) = (told.metadata.as_deref(), told.error_code);
            let told = (told.committed_offset, metadata, code);
            assert_eq!(told, (offset, Some(note), ErrorCode::None));
            let unknown = match version {
                10 => ErrorCode::UnknownTopicId,
                _ => ErrorCode::None,
            };
            assert_eq!(group.topics[1].partitions[0].error_code, unknown);
        }
        let names: Vec<&str> = answer.groups.iter().map(|one| &*one.group_id).collect();
        assert_eq!(names, [GROUP, "missing", "other"]);
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
fn g15_what_members_are_subscribed_to_stays_however_long_ago_it_was_committed() {
    let day_ms = 24 * 3_600_000;
    let mut broker = broker();
    broker.create("left", 1, &[]);
    let request = JoinGroupRequest {
        session_timeout_ms: 1_800_000,
        ..join(&Str::default())
    };
    let joined = broker.call(3, &request);
    let synced = broker.call(3, &sync(&joined, &[]));
    assert_eq!(synced.error_code, ErrorCode::None);
    let mut both = commit(Some(&joined), 3);
    both.topics.push(both.topics[0].clone());
    both.topics[1].name = "left".into();
    assert_eq!(committed(&mut broker, 8, &both), ErrorCode::None);
    let count = |broker: &mut Broker| {
        let request = OffsetFetchRequest {
            group_id: GROUP.into(),
            topics: None,
            ..OffsetFetchRequest::default()
        };
        broker.call(7, &request).topics.len()
    };
    let lives = |broker: &mut Broker, ms: u64| {
        for _ in 0..ms / 1_200_000 {
            broker.node.run_ms(1_200_000);
            let conn = broker.connect(0);
            let beat = HeartbeatRequest {
                group_id: GROUP.into(),
                generation_id: joined.generation_id,
                member_id: joined.member_id.clone(),
                ..HeartbeatRequest::default()
            };
            let sent = broker.send(conn, 4, &beat);
            let told = broker.expect::<HeartbeatRequest>(conn, 4, sent);
            assert_eq!(told.error_code, ErrorCode::None);
        }
        *broker = std::mem::take(broker).restart();
    };
    lives(&mut broker, 6 * day_ms);
    assert_eq!(count(&mut broker), 2);
    lives(&mut broker, 2 * day_ms);
    assert_eq!(count(&mut broker), 1, "nobody reads the other");
    assert_eq!(fetched(&mut broker), (3, "note".into()));
    // It is kept for as long again once nobody is there.
    broker.node.run_ms(6 * day_ms);
    let mut broker = broker.restart();
    assert_eq!(state(&mut broker), "Empty");
    assert_eq!(fetched(&mut broker), (3, "note".into()));
    broker.node.run_ms(day_ms + 3_600_000);
    let mut broker = broker.restart();
    assert_eq!(fetched(&mut broker), (-1, Str::default()));
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
