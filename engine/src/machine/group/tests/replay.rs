//! Logs that no coordinator wrote: records are missing, in another order, or say what cannot be.

use super::mixed::lived;
use super::{Random, World, group};
use crate::machine::group::Call;
use millstream_net::wire::Str;
use millstream_net::wire::api::{
    ConsumerGroupHeartbeatRequest, JoinGroupProtocol, JoinGroupRequest,
};
use millstream_net::wire::consumer_protocol::ConsumerSubscription;
use millstream_net::wire::offsets_topic::GroupRecord;

const EPOCHS: [i32; 7] = [i32::MIN, -2, -1, 0, 1, 7, i32::MAX];

/// What was written, spoiled.
fn spoiled(log: &[GroupRecord], random: &mut Random) -> Vec<GroupRecord> {
    let missing = random.below(8);
    let mut kept: Vec<GroupRecord> = Vec::new();
    for record in log {
        if random.below(10) < missing {
            continue;
        }
        let mut record = record.clone();
        if random.below(10) == 0 {
            contradict(&mut record, random);
        }
        kept.push(record);
    }
    for _ in 0..random.below(kept.len().max(1)) {
        let (a, b) = (random.below(kept.len()), random.below(kept.len()));
        kept.swap(a, b);
    }
    kept
}

fn contradict(record: &mut GroupRecord, random: &mut Random) {
    let epoch = EPOCHS[random.below(EPOCHS.len())];
    match record {
        GroupRecord::ConsumerGroup(_, Some(value)) => value.epoch = epoch,
        GroupRecord::TargetEpoch(_, Some(value)) => value.assignment_epoch = epoch,
        GroupRecord::Member(_, Some(value)) => {
            value.instance_id = Some(Str::from_static("same"));
            value.rebalance_timeout_ms = epoch;
            value.subscribed_topic_regex = Some(Str::from_static("("));
        }
        GroupRecord::CurrentMember(_, Some(value)) => {
            value.member_epoch = epoch;
            value.state = random.below(4) as i8;
            value.partitions_pending_revocation = value.assigned_partitions.clone();
        }
        GroupRecord::GroupMetadata(_, Some(value)) => {
            value.generation = epoch;
            value.leader = None;
            let again = value.members.clone();
            value.members.extend(again);
            for member in &mut value.members {
                let named = random.below(2) == 0;
                member.group_instance_id = named.then(|| Str::from_static("same"));
                member.session_timeout = epoch;
            }
        }
        GroupRecord::OffsetCommit(_, Some(value)) => {
            value.offset = i64::from(epoch);
            value.commit_timestamp = i64::MAX;
        }
        _ => {}
    }
}

/// Clients of both protocols come to what was made of it, and time goes on.
fn goes_on(world: &mut World, random: &mut Random) {
    let subscription = ConsumerSubscription {
        topics: vec!["t".into()],
        ..ConsumerSubscription::default()
    };
    for number in 0..6 {
        match random.below(3) {
            0 => {
                let request = ConsumerGroupHeartbeatRequest {
                    group_id: group(),
                    member_id: format!("new-{number}").into(),
                    rebalance_timeout_ms: 10_000,
                    subscribed_topic_names: Some(vec!["t".into()]),
                    topic_partitions: Some(Vec::new()),
                    ..ConsumerGroupHeartbeatRequest::default()
                };
                world.call(1, Call::ConsumerHeartbeat(request));
            }
            1 => {
                let request = JoinGroupRequest {
                    group_id: group(),
                    session_timeout_ms: 10_000,
                    rebalance_timeout_ms: 10_000,
                    protocol_type: "consumer".into(),
                    protocols: vec![JoinGroupProtocol {
                        name: "range".into(),
                        metadata: subscription.encode(0),
                    }],
                    ..JoinGroupRequest::default()
                };
                world.call(3, Call::Join(request));
            }
            _ => world.pass_ms(1 + random.below(50_000) as u64),
        }
    }
}

#[test]
fn whatever_a_log_says_the_groups_of_it_are_sound() {
    for seed in 1..=40 {
        let written = lived(seed, 240);
        for round in 0..6 {
            println!("seed {seed}, round {round}");
            let mut random = Random(seed * 100 + round + 1);
            let mut world = World::new((*written.config).clone());
            world.image = written.image.clone();
            world.log = spoiled(&written.log, &mut random);
            world.load();
            goes_on(&mut world, &mut random);
            world.load();
            goes_on(&mut world, &mut random);
        }
    }
}
