//! From one protocol to the other while a group lives: rule K7.

use super::consumer_groups::{
    GROUP, beat, broker, broker_with, commit, describe, join, partitions,
};
use super::groups::heartbeat;
use millstream_net::wire::api::*;
use millstream_net::wire::consumer_protocol::{
    ConsumerAssignment, ConsumerPartitions, ConsumerSubscription,
};
use millstream_net::wire::{ErrorCode, Str};
use millstream_tests::sim::broker::Broker;

fn classic_join(member: &Str, owned: &[i32]) -> JoinGroupRequest {
    let owned = ConsumerPartitions {
        topic: "t".into(),
        partitions: owned.to_vec(),
    };
    let subscription = ConsumerSubscription {
        topics: vec!["t".into()],
        owned_partitions: vec![owned],
        ..ConsumerSubscription::default()
    };
    JoinGroupRequest {
        group_id: GROUP.into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 30_000,
        member_id: member.clone(),
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupProtocol {
            name: "cooperative-sticky".into(),
            metadata: subscription.encode(1),
        }],
        ..JoinGroupRequest::default()
    }
}

fn classic_sync(joined: &JoinGroupResponse, assigned: &[i32]) -> SyncGroupRequest {
    let assignment = ConsumerAssignment {
        assigned_partitions: vec![ConsumerPartitions {
            topic: "t".into(),
            partitions: assigned.to_vec(),
        }],
        user_data: None,
    };
    let assigned = SyncGroupAssignment {
        member_id: joined.member_id.clone(),
        assignment: assignment.encode(1),
    };
    SyncGroupRequest {
        group_id: GROUP.into(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        protocol_type: Some("consumer".into()),
        protocol_name: joined.protocol_name.clone(),
        assignments: vec![assigned],
        ..SyncGroupRequest::default()
    }
}

fn synced(broker: &mut Broker, joined: &JoinGroupResponse) -> Vec<i32> {
    let answer = broker.call(5, &classic_sync(joined, &[]));
    assert_eq!(answer.error_code, ErrorCode::None);
    let assignment = ConsumerAssignment::decode(&answer.assignment).expect("it is an assignment");
    let topics = assignment.assigned_partitions.into_iter();
    topics.flat_map(|topic| topic.partitions).collect()
}

#[test]
fn k7_a_live_classic_group_takes_a_consumer_and_goes_back_when_it_leaves() {
    let mut broker = broker();
    let told = broker.call(5, &classic_join(&Str::default(), &[]));
    let classic = broker.call(5, &classic_join(&told.member_id, &[]));
    assert_eq!(classic.error_code, ErrorCode::None);
    let first = broker.call(5, &classic_sync(&classic, &[0, 1, 2, 3]));
    assert_eq!(first.error_code, ErrorCode::None);

    let joined = broker.call(1, &join("m"));
    assert_eq!(
        (joined.error_code, joined.member_epoch),
        (ErrorCode::None, 2)
    );
    assert!(
        partitions(&joined).is_empty(),
        "the classic member has all of them"
    );
    let group = describe(&mut broker);
    let types: Vec<i8> = group
        .members
        .iter()
        .map(|member| member.member_type)
        .collect();
    assert_eq!(types.iter().map(|one| i32::from(*one)).sum::<i32>(), 1);

    // The classic member lets go of half in one rebalance and goes on in the next.
    assert_eq!(
        heartbeat(&mut broker, &classic),
        ErrorCode::RebalanceInProgress
    );
    let again = broker.call(5, &classic_join(&classic.member_id, &[0, 1, 2, 3]));
    let kept = synced(&mut broker, &again);
    assert_eq!(kept.len(), 2);
    assert_eq!(
        heartbeat(&mut broker, &again),
        ErrorCode::RebalanceInProgress
    );
    let again = broker.call(5, &classic_join(&classic.member_id, &kept));
    assert_eq!(
        (again.generation_id, synced(&mut broker, &again)),
        (2, kept)
    );
    assert_eq!(heartbeat(&mut broker, &again), ErrorCode::None);
    let told = broker.call(1, &beat("m", 2));
    assert_eq!(partitions(&told).len(), 2);

    assert_eq!(broker.call(1, &beat("m", -1)).error_code, ErrorCode::None);
    assert_eq!(describe(&mut broker).error_code, ErrorCode::GroupIdNotFound);
    assert_eq!(
        heartbeat(&mut broker, &again),
        ErrorCode::RebalanceInProgress
    );
    let back = broker.call(5, &classic_join(&classic.member_id, &[]));
    assert_eq!((back.error_code, back.generation_id), (ErrorCode::None, 3));
    assert_eq!(back.leader, back.member_id);
}

#[test]
fn k7_an_empty_classic_group_becomes_a_consumer_group_with_its_offsets() {
    let mut broker = broker();
    let request = OffsetCommitRequest {
        generation_id_or_member_epoch: -1,
        member_id: Str::default(),
        ..commit("", -1)
    };
    broker.call(8, &request);
    assert_eq!(broker.call(1, &join("m")).error_code, ErrorCode::None);
    assert_eq!(committed(&mut broker), 5);
}

/// What the group committed for its first partition.
fn committed(broker: &mut Broker) -> i64 {
    let fetch = OffsetFetchRequest {
        groups: vec![OffsetFetchGroup {
            group_id: GROUP.into(),
            ..OffsetFetchGroup::default()
        }],
        ..OffsetFetchRequest::default()
    };
    let offsets = broker.call(8, &fetch);
    offsets.groups[0].topics[0].partitions[0].committed_offset
}

/// What kind of group it is, and its state.
fn listed(broker: &mut Broker) -> (String, String) {
    let listed = broker.call(5, &ListGroupsRequest::default());
    let group = &listed.groups[0];
    (group.group_type.to_string(), group.group_state.to_string())
}

#[test]
fn k7_an_empty_consumer_group_becomes_a_classic_group_with_its_offsets() {
    let mut broker = broker();
    let joined = broker.call(1, &join("m"));
    broker.call(9, &commit("m", joined.member_epoch));
    broker.call(1, &beat("m", -1));
    assert_eq!(listed(&mut broker), ("consumer".into(), "Empty".into()));
    // Who names a member that is not there changes nothing.
    let unknown = broker.call(5, &classic_join(&"nobody".into(), &[]));
    assert_eq!(unknown.error_code, ErrorCode::UnknownMemberId);
    assert_eq!(listed(&mut broker).0, "consumer");
    let told = broker.call(5, &classic_join(&Str::default(), &[]));
    let classic = broker.call(5, &classic_join(&told.member_id, &[]));
    assert_eq!(
        (classic.error_code, classic.generation_id),
        (ErrorCode::None, 1)
    );
    assert_eq!(classic.leader, classic.member_id, "members assign");
    assert_eq!(listed(&mut broker).0, "classic");
    assert_eq!(committed(&mut broker), 5);
}

#[test]
fn k7_a_classic_member_that_takes_the_place_of_the_last_consumer_goes_on_with_what_that_had() {
    let mut broker = broker();
    let named = Some(Str::from("one"));
    let first = ConsumerGroupHeartbeatRequest {
        instance_id: named.clone(),
        ..join("m")
    };
    let first = broker.call(1, &first);
    let away = ConsumerGroupHeartbeatRequest {
        instance_id: named.clone(),
        ..beat("m", -2)
    };
    assert_eq!(broker.call(1, &away).error_code, ErrorCode::None);
    let next = JoinGroupRequest {
        group_instance_id: named.clone(),
        ..classic_join(&Str::default(), &[])
    };
    let joined = broker.call(5, &next);
    assert_eq!(joined.error_code, ErrorCode::None);
    assert_eq!(joined.generation_id, first.member_epoch);
    assert_eq!(listed(&mut broker), ("classic".into(), "Stable".into()));
    assert_eq!(synced(&mut broker, &joined), [0, 1, 2, 3]);
    assert_eq!(heartbeat(&mut broker, &joined), ErrorCode::None);
    let former = ConsumerGroupHeartbeatRequest {
        instance_id: named,
        ..beat("m", first.member_epoch)
    };
    let former = broker.call(1, &former);
    assert_eq!(former.error_code, ErrorCode::GroupIdNotFound);
}

/// A classic member that has the whole topic.
fn classic(broker: &mut Broker) -> JoinGroupResponse {
    let told = broker.call(5, &classic_join(&Str::default(), &[]));
    let joined = broker.call(5, &classic_join(&told.member_id, &[]));
    let synced = broker.call(5, &classic_sync(&joined, &[0, 1, 2, 3]));
    assert_eq!(synced.error_code, ErrorCode::None);
    joined
}

#[test]
fn k7_a_policy_without_upgrades_keeps_consumers_out_of_a_live_classic_group() {
    let mut broker = broker_with(|groups| groups.upgrade = false);
    let joined = classic(&mut broker);
    let refused = broker.call(1, &join("m"));
    assert_eq!(refused.error_code, ErrorCode::GroupIdNotFound);
    assert_eq!(heartbeat(&mut broker, &joined), ErrorCode::None);
    assert_eq!(listed(&mut broker), ("classic".into(), "Stable".into()));
    // An empty group is nobody's.
    broker.node.run_ms(60_000);
    assert_eq!(listed(&mut broker).1, "Empty");
    assert_eq!(broker.call(1, &join("m")).error_code, ErrorCode::None);
}

#[test]
fn k7_a_policy_without_downgrades_leaves_classic_members_in_their_consumer_group() {
    let mut broker = broker_with(|groups| groups.downgrade = false);
    let joined = classic(&mut broker);
    assert_eq!(broker.call(1, &join("m")).error_code, ErrorCode::None);
    assert_eq!(broker.call(1, &beat("m", -1)).error_code, ErrorCode::None);
    assert_eq!(listed(&mut broker).0, "consumer");
    assert_eq!(
        heartbeat(&mut broker, &joined),
        ErrorCode::RebalanceInProgress
    );
    let again = broker.call(5, &classic_join(&joined.member_id, &[0, 1, 2, 3]));
    assert_eq!(again.error_code, ErrorCode::None);
    assert_eq!(synced(&mut broker, &again), [0, 1, 2, 3]);
    assert_eq!(listed(&mut broker), ("consumer".into(), "Stable".into()));
}
