//! How classic clients that are consumers assign among themselves.

use crate::machine::group::consumer::partitions::Place;
use crate::machine::image::Image;
use bytes::Bytes;
use millstream_net::wire::Str;
use millstream_net::wire::api::{JoinGroupMember, SyncGroupAssignment};
use millstream_net::wire::consumer_protocol::{
    ConsumerAssignment, ConsumerPartitions, ConsumerSubscription,
};
use std::collections::{BTreeMap, BTreeSet};

/// How partitions move in a classic group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Rebalancing {
    /// Everybody lets go of everything first.
    Eager,
    /// Who loses something joins again after it let go, and the partition moves then.
    Cooperative,
}

/// The metadata of a client.
pub(super) fn subscription(topics: &[&str], owned: &BTreeSet<Place>, generation: i32) -> Bytes {
    let names = ["a", "b"];
    let owned = names.iter().zip(1..).map(|(name, id)| ConsumerPartitions {
        topic: Str::from(*name),
        partitions: owned
            .iter()
            .filter(|place| place.0.0 == id)
            .map(|place| place.1)
            .collect(),
    });
    let subscription = ConsumerSubscription {
        topics: topics.iter().map(|name| Str::from(*name)).collect(),
        user_data: None,
        owned_partitions: owned.filter(|one| !one.partitions.is_empty()).collect(),
        generation_id: generation,
        rack_id: None,
    };
    subscription.encode(3)
}

/// What a leader assigns: the partitions of each topic evenly to those who want it, and nothing that another still has.
pub(super) fn assign(
    image: &Image,
    members: &[JoinGroupMember],
    rebalancing: Rebalancing,
) -> Vec<SyncGroupAssignment> {
    let said: BTreeMap<&Str, ConsumerSubscription> = members
        .iter()
        .map(|member| {
            let said = ConsumerSubscription::decode(&member.metadata).expect("all are consumers");
            (&member.member_id, said)
        })
        .collect();
    let mut given: BTreeMap<&Str, Vec<ConsumerPartitions>> =
        said.keys().map(|id| (*id, Vec::new())).collect();
    let topics: BTreeSet<&Str> = said.values().flat_map(|one| &one.topics).collect();
    for name in topics {
        let Some(topic) = image.topic_named(name) else {
            continue;
        };
        let claims = claims(&said, name);
        let mut shares: BTreeMap<&Str, Vec<i32>> = said
            .iter()
            .filter(|(_, one)| one.topics.contains(name))
            .map(|(id, _)| (*id, Vec::new()))
            .collect();
        let count = topic.partitions.len();
        let quota = count.div_ceil(shares.len());
        let (mut kept, mut free) = (BTreeSet::new(), Vec::new());
        for partition in 0..count as i32 {
            let claimed = claims.get(&partition).and_then(|id| shares.get_mut(*id));
            match claimed {
                Some(share) if share.len() < quota => {
                    share.push(partition);
                    kept.insert(partition);
                }
                _ => free.push(partition),
            }
        }
        for partition in free {
            let least = shares.iter_mut().min_by_key(|(_, share)| share.len());
            let (id, share) = least.expect("somebody wants it");
            share.push(partition);
            let withheld = claims.get(&partition).is_some_and(|claimed| claimed != id);
            if rebalancing == Rebalancing::Eager || !withheld {
                kept.insert(partition);
            }
        }
        for (id, mut partitions) in shares {
            partitions.retain(|one| kept.contains(one));
            let topic = name.clone();
            let one = ConsumerPartitions { topic, partitions };
            given.get_mut(id).expect("it is a member").push(one);
        }
    }
    let given = given.into_iter().map(|(id, partitions)| {
        let assignment = ConsumerAssignment {
            assigned_partitions: partitions,
            user_data: None,
        };
        SyncGroupAssignment {
            member_id: id.clone(),
            assignment: assignment.encode(3),
        }
    });
    given.collect()
}

/// Who has which partition of a topic: of two who say so, the one of the later generation.
fn claims<'a>(
    said: &BTreeMap<&'a Str, ConsumerSubscription>,
    topic: &Str,
) -> BTreeMap<i32, &'a Str> {
    let mut claims: BTreeMap<i32, (i32, &Str)> = BTreeMap::new();
    for (id, one) in said {
        let owned = one
            .owned_partitions
            .iter()
            .filter(|one| one.topic == *topic);
        for partition in owned.flat_map(|one| &one.partitions) {
            let claim = claims.entry(*partition).or_insert((one.generation_id, *id));
            if claim.0 < one.generation_id {
                *claim = (one.generation_id, *id);
            }
        }
    }
    let claims = claims.into_iter();
    claims.map(|(partition, (_, id))| (partition, id)).collect()
}
