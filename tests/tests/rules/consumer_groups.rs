//! Consumer groups (KIP-848): rules K1-K6 and K8.

use millstream_engine::machine::group::GroupConfig;
use millstream_net::wire::api::*;
use millstream_net::wire::{ErrorCode, Str};
use millstream_tests::sim::broker::Broker;
use millstream_tests::sim::node::NodeConfig;
use std::sync::Arc;

pub(super) const GROUP: &str = "g";

pub(super) fn broker() -> Broker {
    broker_with(|_| {})
}

pub(super) fn broker_with(change: impl FnOnce(&mut GroupConfig)) -> Broker {
    let mut config = NodeConfig::default();
    let mut groups = GroupConfig {
        initial_delay_ms: 0,
        consumer_size_max: 3,
        consumer_assignment_ms: 0,
        ..GroupConfig::default()
    };
    change(&mut groups);
    config.settings.groups = Arc::new(groups);
    config.controller.offsets_partitions = 3;
    let mut broker = Broker::new(config);
    broker.create("t", 4, &[]);
    let request = FindCoordinatorRequest {
        key: GROUP.into(),
        ..FindCoordinatorRequest::default()
    };
    broker.call(3, &request);
    assert_eq!(broker.call(3, &request).error_code, ErrorCode::None);
    broker
}

/// The first heartbeat of a member.
pub(super) fn join(member: &str) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: GROUP.into(),
        member_id: member.into(),
        rebalance_timeout_ms: 30_000,
        subscribed_topic_names: Some(vec!["t".into()]),
        topic_partitions: Some(Vec::new()),
        ..ConsumerGroupHeartbeatRequest::default()
    }
}

/// A later one, in which nothing is new.
pub(super) fn beat(member: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: GROUP.into(),
        member_id: member.into(),
        member_epoch: epoch,
        ..ConsumerGroupHeartbeatRequest::default()
    }
}

fn owning(
    request: ConsumerGroupHeartbeatRequest,
    answer: &ConsumerGroupHeartbeatResponse,
) -> ConsumerGroupHeartbeatRequest {
    let owned = answer
        .assignment
        .as_ref()
        .map(|one| one.topic_partitions.clone());
    ConsumerGroupHeartbeatRequest {
        topic_partitions: Some(owned.unwrap_or_default()),
        ..request
    }
}

pub(super) fn partitions(answer: &ConsumerGroupHeartbeatResponse) -> Vec<i32> {
    let assignment = answer.assignment.as_ref().expect("it is told what it has");
    let topics = assignment.topic_partitions.iter();
    topics.flat_map(|topic| topic.partitions.clone()).collect()
}

pub(super) fn describe(broker: &mut Broker) -> DescribedConsumerGroup {
    let request = ConsumerGroupDescribeRequest {
        group_ids: vec![GROUP.into()],
        ..ConsumerGroupDescribeRequest::default()
    };
    broker.call(1, &request).groups.remove(0)
}

#[test]
fn k1_violations_of_the_form_are_refused() {
    let mut broker = broker();
    let base = || join("m");
    let with = |change: fn(&mut ConsumerGroupHeartbeatRequest)| {
        let mut request = base();
        change(&mut request);
        request
    };
    let invalid = ErrorCode::InvalidRequest;
    let cases = [
        (with(|one| one.group_id = "".into()), invalid),
        (with(|one| one.member_id = "".into()), invalid),
        (with(|one| one.instance_id = Some("".into())), invalid),
        (with(|one| one.rack_id = Some("".into())), invalid),
        (with(|one| one.rebalance_timeout_ms = -1), invalid),
        (with(|one| one.topic_partitions = None), invalid),
        (with(|one| one.subscribed_topic_names = None), invalid),
        (with(|one| one.member_epoch = -3), invalid),
        (with(|one| one.member_epoch = -2), invalid),
        (
            with(|one| one.server_assignor = Some("sticky".into())),
            ErrorCode::UnsupportedAssignor,
        ),
        (
            with(|one| one.subscribed_topic_regex = Some("(".into())),
            ErrorCode::InvalidRegularExpression,
        ),
        (with(|one| one.member_epoch = 1), ErrorCode::GroupIdNotFound),
    ];
    for (request, code) in cases {
        let answer = broker.call(1, &request);
        assert_eq!(answer.error_code, code, "{request:?}");
        assert!(answer.error_message.is_some());
    }
    assert_eq!(describe(&mut broker).error_code, ErrorCode::GroupIdNotFound);
    // In version 0 the broker gives the id.
    let answer = broker.call(0, &with(|one| one.member_id = "".into()));
    assert_eq!(answer.error_code, ErrorCode::None);
    assert!(answer.member_id.is_some_and(|id| id.len() == 36));
}

#[test]
fn k1_a_member_joins_is_told_all_and_leaves() {
    let mut broker = broker();
    let joined = broker.call(1, &join("m"));
    let told = (
        joined.error_code,
        joined.member_epoch,
        joined.heartbeat_interval_ms,
    );
    assert_eq!(told, (ErrorCode::None, 1, 5_000));
    assert_eq!(partitions(&joined), [0, 1, 2, 3]);
    let group = describe(&mut broker);
    assert_eq!(
        (
            &*group.group_state,
            group.group_epoch,
            group.assignment_epoch
        ),
        ("Stable", 1, 1)
    );
    assert_eq!(group.assignor_name, "uniform");
    let member = &group.members[0];
    assert_eq!(
        (&*member.member_id, member.member_epoch, member.member_type),
        ("m", 1, 1)
    );
    assert_eq!(member.assignment, member.target_assignment);
    let left = broker.call(1, &beat("m", -1));
    assert_eq!((left.error_code, left.member_epoch), (ErrorCode::None, -1));
    assert_eq!(describe(&mut broker).group_state, "Empty");
    let ranged = ConsumerGroupHeartbeatRequest {
        server_assignor: Some("range".into()),
        ..join("m")
    };
    assert_eq!(partitions(&broker.call(1, &ranged)), [0, 1, 2, 3]);
    assert_eq!(describe(&mut broker).assignor_name, "range");
}

#[test]
fn k1_a_full_group_takes_nobody() {
    let mut broker = broker();
    for member in ["a", "b", "c"] {
        assert_eq!(broker.call(1, &join(member)).error_code, ErrorCode::None);
    }
    let refused = broker.call(1, &join("d"));
    assert_eq!(refused.error_code, ErrorCode::GroupMaxSizeReached);
}

#[test]
fn k1_patterns_are_resolved_by_the_broker_as_topics_come() {
    let mut broker = broker();
    let request = ConsumerGroupHeartbeatRequest {
        subscribed_topic_names: None,
        subscribed_topic_regex: Some("t|new-.*".into()),
        ..join("m")
    };
    let joined = broker.call(1, &request);
    assert_eq!(partitions(&joined), [0, 1, 2, 3]);
    broker.create("new-one", 2, &[]);
    broker.create("anew-one", 2, &[]);
    let told = broker.call(1, &beat("m", 1));
    assert_eq!((told.member_epoch, partitions(&told).len()), (2, 6));
    let mut broker = broker.restart();
    let told = broker.call(1, &beat("m", 2));
    assert_eq!((told.error_code, told.member_epoch), (ErrorCode::None, 2));
}

#[test]
fn k2_epochs_fence() {
    let mut broker = broker();
    let first = broker.call(1, &join("m"));
    let unknown = broker.call(1, &beat("other", 1));
    assert_eq!(unknown.error_code, ErrorCode::UnknownMemberId);
    assert_eq!(
        broker.call(1, &beat("m", 2)).error_code,
        ErrorCode::FencedMemberEpoch
    );
    // Another member raises the epoch.
    broker.call(1, &join("n"));
    let told = broker.call(1, &owning(beat("m", 1), &first));
    assert_eq!(
        (told.error_code, told.member_epoch),
        (ErrorCode::None, 1),
        "it has to let go first"
    );
    let kept = owning(beat("m", 1), &told);
    let moved = broker.call(1, &kept);
    assert_eq!((moved.error_code, moved.member_epoch), (ErrorCode::None, 2));
    // The answer was lost: the same again, with the former epoch.
    let again = broker.call(1, &kept);
    assert_eq!((again.error_code, again.member_epoch), (ErrorCode::None, 2));
    let stale = broker.call(1, &owning(beat("m", 1), &first));
    assert_eq!(
        stale.error_code,
        ErrorCode::FencedMemberEpoch,
        "it owns what it must not"
    );
    assert_eq!(
        broker.call(1, &beat("m", 1)).error_code,
        ErrorCode::FencedMemberEpoch
    );
}

#[test]
fn k2_a_static_name_has_one_holder() {
    let mut broker = broker();
    let with = |request: ConsumerGroupHeartbeatRequest| ConsumerGroupHeartbeatRequest {
        instance_id: Some("i".into()),
        ..request
    };
    let joined = broker.call(1, &with(join("m")));
    assert_eq!(
        broker.call(1, &with(join("n"))).error_code,
        ErrorCode::UnreleasedInstanceId
    );
    assert_eq!(
        broker.call(1, &with(beat("n", 1))).error_code,
        ErrorCode::FencedInstanceId
    );
    let away = broker.call(1, &with(beat("m", -2)));
    assert_eq!((away.error_code, away.member_epoch), (ErrorCode::None, -2));
    let back = broker.call(1, &with(join("n")));
    assert_eq!(
        (back.error_code, back.member_epoch),
        (ErrorCode::None, joined.member_epoch)
    );
    assert_eq!(partitions(&back), [0, 1, 2, 3], "nothing has moved");
    assert_eq!(
        broker.call(1, &with(beat("m", 1))).error_code,
        ErrorCode::FencedInstanceId
    );
}

#[test]
fn k2_a_member_that_takes_another_static_name_leaves_the_former_one_free() {
    let mut broker = broker();
    let named = |member: &str, name: &str| ConsumerGroupHeartbeatRequest {
        instance_id: Some(name.into()),
        ..join(member)
    };
    let first = broker.call(1, &named("m1", "one"));
    assert_eq!(first.error_code, ErrorCode::None);
    let again = broker.call(1, &named("m1", "two"));
    assert_eq!(again.error_code, ErrorCode::None);
    assert_eq!(partitions(&again), [0, 1, 2, 3], "it is the member it was");
    let leaves = ConsumerGroupHeartbeatRequest {
        instance_id: Some("two".into()),
        ..beat("m1", -1)
    };
    assert_eq!(broker.call(1, &leaves).error_code, ErrorCode::None);
    let other = broker.call(1, &named("m2", "one"));
    assert_eq!(other.error_code, ErrorCode::None);
    assert_eq!(partitions(&other), [0, 1, 2, 3]);
    assert_eq!(describe(&mut broker).members.len(), 1);
}

#[test]
fn k3_what_is_not_said_stays_and_what_is_unchanged_is_not_told() {
    let mut broker = broker();
    broker.call(1, &join("m"));
    let quiet = broker.call(1, &beat("m", 1));
    assert_eq!(
        (quiet.error_code, quiet.assignment),
        (ErrorCode::None, None)
    );
    let member = describe(&mut broker).members.remove(0);
    assert_eq!(member.subscribed_topic_names, ["t"]);
    let mut changed = beat("m", 1);
    changed.subscribed_topic_names = Some(Vec::new());
    let told = broker.call(1, &changed);
    assert!(partitions(&told).is_empty());
}

/// A heartbeat that says which partitions of the topic the member has.
fn having(
    broker: &mut Broker,
    member: &str,
    epoch: i32,
    has: &[i32],
) -> ConsumerGroupHeartbeatRequest {
    let topic_id = describe(broker).members[0].assignment.topic_partitions[0].topic_id;
    ConsumerGroupHeartbeatRequest {
        topic_partitions: Some(vec![HeartbeatTopicPartitions {
            topic_id,
            partitions: has.to_vec(),
        }]),
        ..beat(member, epoch)
    }
}

#[test]
fn k4_a_partition_goes_to_its_next_owner_when_the_former_one_has_let_go() {
    let mut broker = broker();
    broker.call(1, &join("a"));
    let joined = broker.call(1, &join("b"));
    assert_eq!((joined.member_epoch, partitions(&joined)), (2, vec![]));
    let all = having(&mut broker, "a", 1, &[0, 1, 2, 3]);
    let told = broker.call(1, &all);
    assert_eq!(
        (told.member_epoch, partitions(&told)),
        (1, vec![0, 1]),
        "it is to give up two, and has not"
    );
    let waits = broker.call(1, &beat("b", 2));
    assert_eq!(
        (waits.error_code, waits.assignment),
        (ErrorCode::None, None)
    );
    let half = having(&mut broker, "a", 1, &[0, 1]);
    assert_eq!(broker.call(1, &half).member_epoch, 2);
    assert_eq!(partitions(&broker.call(1, &beat("b", 2))), [2, 3]);
}

#[test]
fn k4_who_does_not_give_up_in_time_is_fenced() {
    let mut broker = broker();
    broker.call(1, &join("a"));
    broker.call(1, &join("b"));
    let all = having(&mut broker, "a", 1, &[0, 1, 2, 3]);
    for _ in 0..4 {
        assert_eq!(broker.call(1, &all).error_code, ErrorCode::None);
        assert_eq!(broker.call(1, &beat("b", 2)).assignment, None);
        broker.node.run_ms(7_000);
    }
    // Its rebalance timeout of 30 s is over, whatever it says.
    broker.node.run_ms(3_000);
    assert_eq!(broker.call(1, &all).error_code, ErrorCode::UnknownMemberId);
    let alone = broker.call(1, &beat("b", 2));
    assert_eq!(
        (alone.member_epoch, partitions(&alone)),
        (3, vec![0, 1, 2, 3])
    );
}

#[test]
fn k4_what_an_expired_member_had_is_free() {
    let mut broker = broker();
    broker.call(1, &join("a"));
    broker.call(1, &join("b"));
    for _ in 0..2 {
        broker.node.run_ms(22_000);
        assert_eq!(broker.call(1, &beat("b", 2)).assignment, None);
    }
    broker.node.run_ms(1_001);
    let alone = broker.call(1, &beat("b", 2));
    assert_eq!(
        (alone.member_epoch, partitions(&alone)),
        (3, vec![0, 1, 2, 3])
    );
}

#[test]
fn k5_the_session_is_the_brokers() {
    let mut broker = broker();
    broker.call(1, &join("m"));
    broker.node.run_ms(44_000);
    assert_eq!(broker.call(1, &beat("m", 1)).error_code, ErrorCode::None);
    broker.node.run_ms(45_001);
    assert_eq!(
        broker.call(1, &beat("m", 1)).error_code,
        ErrorCode::UnknownMemberId
    );
}

pub(super) fn commit(member: &str, epoch: i32) -> OffsetCommitRequest {
    OffsetCommitRequest {
        group_id: GROUP.into(),
        generation_id_or_member_epoch: epoch,
        member_id: member.into(),
        topics: vec![OffsetCommitTopic {
            name: "t".into(),
            partitions: vec![OffsetCommitPartition {
                committed_offset: 5,
                ..OffsetCommitPartition::default()
            }],
            ..OffsetCommitTopic::default()
        }],
        ..OffsetCommitRequest::default()
    }
}

#[test]
fn k6_commits_name_the_epoch_of_their_member() {
    let mut broker = broker();
    broker.call(1, &join("m"));
    let cases = [
        (8, "m", 1, ErrorCode::UnsupportedVersion),
        (9, "m", 2, ErrorCode::StaleMemberEpoch),
        (9, "n", 1, ErrorCode::UnknownMemberId),
        (9, "", -1, ErrorCode::UnknownMemberId),
        (9, "m", 1, ErrorCode::None),
    ];
    for (version, member, epoch, code) in cases {
        let answer = broker.call(version, &commit(member, epoch));
        assert_eq!(answer.topics[0].partitions[0].error_code, code);
    }
    let fetch = |member: &str, epoch| OffsetFetchRequest {
        groups: vec![OffsetFetchGroup {
            group_id: GROUP.into(),
            member_id: Some(member.into()),
            member_epoch: epoch,
            topics: None,
        }],
        ..OffsetFetchRequest::default()
    };
    for (member, epoch, code) in [
        ("m", 2, ErrorCode::StaleMemberEpoch),
        ("n", 1, ErrorCode::UnknownMemberId),
        ("m", 1, ErrorCode::None),
    ] {
        let answer = broker.call(9, &fetch(member, epoch));
        assert_eq!(answer.groups[0].error_code, code);
    }
}

#[test]
fn k8_each_kind_is_described_by_its_own_request() {
    let mut broker = broker();
    broker.call(1, &join("m"));
    let classic = DescribeGroupsRequest {
        groups: vec![GROUP.into()],
        ..DescribeGroupsRequest::default()
    };
    assert_eq!(broker.call(5, &classic).groups[0].group_state, "Dead");
    assert_eq!(
        broker.call(6, &classic).groups[0].error_code,
        ErrorCode::GroupIdNotFound
    );
    let listed = broker.call(5, &ListGroupsRequest::default());
    assert_eq!(
        (
            &*listed.groups[0].group_type,
            &*listed.groups[0].protocol_type
        ),
        ("consumer", "consumer")
    );
    let mut broker = broker.restart();
    assert_eq!(describe(&mut broker).group_state, "Stable");
    assert_eq!(broker.call(1, &beat("m", 1)).error_code, ErrorCode::None);
}

#[test]
fn names_that_are_too_long_or_too_many_are_refused_and_make_no_group() {
    let mut broker = broker();
    let long = || Str::from("x".repeat(20_000));
    let names = |count: usize, bytes: usize| Some(vec![Str::from("t".repeat(bytes)); count]);
    let base = || join("m");
    let cases = [
        (
            ConsumerGroupHeartbeatRequest {
                group_id: long(),
                ..base()
            },
            ErrorCode::InvalidGroupId,
        ),
        (
            ConsumerGroupHeartbeatRequest {
                member_id: long(),
                ..base()
            },
            ErrorCode::InvalidRequest,
        ),
        (
            ConsumerGroupHeartbeatRequest {
                instance_id: Some(long()),
                ..base()
            },
            ErrorCode::InvalidRequest,
        ),
        (
            ConsumerGroupHeartbeatRequest {
                rack_id: Some(long()),
                ..base()
            },
            ErrorCode::InvalidRequest,
        ),
        (
            ConsumerGroupHeartbeatRequest {
                subscribed_topic_names: names(10_001, 1),
                ..base()
            },
            ErrorCode::InvalidRequest,
        ),
        (
            ConsumerGroupHeartbeatRequest {
                subscribed_topic_names: names(1, 300),
                ..base()
            },
            ErrorCode::InvalidRequest,
        ),
        (
            ConsumerGroupHeartbeatRequest {
                subscribed_topic_regex: Some(long()),
                ..base()
            },
            ErrorCode::InvalidRegularExpression,
        ),
    ];
    for (at, (request, code)) in cases.into_iter().enumerate() {
        assert_eq!(broker.call(1, &request).error_code, code, "case {at}");
    }
    assert_eq!(describe(&mut broker).error_code, ErrorCode::GroupIdNotFound);
}
