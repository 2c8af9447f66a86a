//! How the leader of a classic group deals out partitions: ranges of each topic, as Kafka's `range` does.

use millstream_net::wire::Str;
use millstream_net::wire::api::{JoinGroupMember, SyncGroupAssignment};
use millstream_net::wire::consumer_protocol::{
    ConsumerAssignment, ConsumerPartitions, ConsumerSubscription,
};
use std::collections::BTreeMap;

/// The assignments of all members: of each topic that is `known` the members that want it get a range, the first ones one
/// partition more where it does not go up.
pub fn range(
    members: &[JoinGroupMember],
    known: &BTreeMap<Str, u32>,
    partitions: u32,
) -> Result<Vec<SyncGroupAssignment>, String> {
    let mut wishes: BTreeMap<&Str, Vec<&Str>> = BTreeMap::new();
    for member in members {
        let subscription = ConsumerSubscription::decode(&member.metadata)
            .map_err(|_| "what another member of the group subscribes cannot be read")?;
        for topic in subscription.topics {
            if let Some((name, _)) = known.get_key_value(&topic) {
                wishes.entry(name).or_default().push(&member.member_id);
            }
        }
    }
    let mut shares: BTreeMap<&Str, Vec<ConsumerPartitions>> = BTreeMap::new();
    for (topic, mut takers) in wishes {
        takers.sort();
        takers.dedup();
        let count = takers.len() as u32;
        let mut next = 0;
        for (index, member) in (0..).zip(takers) {
            let size = partitions / count + u32::from(index < partitions % count);
            shares.entry(member).or_default().push(ConsumerPartitions {
                topic: topic.clone(),
                partitions: (next..next + size)
                    .map(|partition| partition as i32)
                    .collect(),
            });
            next += size;
        }
    }
    let assignments = members.iter().map(|member| {
        let assignment = ConsumerAssignment {
            assigned_partitions: shares.remove(&member.member_id).unwrap_or_default(),
            ..ConsumerAssignment::default()
        };
        SyncGroupAssignment {
            member_id: member.member_id.clone(),
            assignment: assignment.encode(1),
        }
    });
    Ok(assignments.collect())
}
