//! What members shall have: made anew when members, subscriptions or topics have changed.

use super::ConsumerGroup;
use super::assign::{Assignor, Wish, Wishes};
use super::member;
use super::partitions::uuid_of;
use crate::machine::group::desk::Desk;
use crate::machine::image::{Image, PartitionRecord};
use millstream_net::wire::Str;
use millstream_net::wire::offsets_topic::{
    GroupKey, GroupRecord, TargetAssignmentMemberValue, TargetAssignmentMetadataValue,
};
use std::collections::{BTreeMap, BTreeSet};

impl ConsumerGroup {
    /// Looks whether the topics that members want have changed, if there is a newer image. Whether the epoch must be raised.
    pub(super) fn topics_changed(&mut self, desk: &mut Desk) -> bool {
        if self.seen == desk.image.index() {
            return false;
        }
        self.seen = desk.image.index();
        self.resolve_patterns(desk);
        let hash = self.hash_of_topics(desk);
        std::mem::replace(&mut self.hash, hash) != hash
    }

    /// Takes what members want now for what the epoch stands for.
    pub(super) fn note_topics(&mut self, desk: &mut Desk) {
        self.resolve_patterns(desk);
        self.seen = desk.image.index();
        self.hash = self.hash_of_topics(desk);
    }

    /// A hash over the topics that members want: ids, names, partitions, and racks they are in (FNV-1a).
    fn hash_of_topics(&self, desk: &Desk) -> i64 {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut mix = |bytes: &[u8]| {
            for byte in bytes {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        };
        for name in self.subscribed_topics() {
            if let Some(topic) = desk.image.topic_named(&name) {
                mix(&uuid_of(topic.id).0);
                mix(name.as_bytes());
                mix(&(topic.partitions.len() as u32).to_be_bytes());
                for racks in topic
                    .partitions
                    .iter()
                    .map(|one| racks_of(&desk.image, one))
                {
                    racks.iter().for_each(|rack| mix(rack.as_bytes()));
                }
            }
        }
        hash as i64
    }

    /// Makes the target assignment of the present epoch, if it is not made yet, and writes down what is new in it.
    pub(super) fn retarget(&mut self, desk: &mut Desk) {
        // A lone member need not wait: there is nobody whose coming or going could be taken along.
        let waits = self.members.len() > 1 && self.assignable_at(desk).is_some();
        if self.target_epoch == self.epoch || waits {
            return;
        }
        self.assigned_at = Some(desk.now.tick);
        let assigned = self.assignor().assign(&self.wishes(desk));
        for (id, partitions) in assigned {
            if self.targets.get(&id) == Some(&partitions) {
                continue;
            }
            let value = TargetAssignmentMemberValue {
                topic_partitions: partitions.as_target(),
            };
            let key = member::key(&self.id, &id);
            desk.append(GroupRecord::TargetMember(key, Some(value)));
            self.targets.insert(id, partitions);
        }
        self.target_epoch = self.epoch;
        desk.append(self.target_record(desk.now.wall.0));
    }

    pub(super) fn target_record(&self, now_ms: i64) -> GroupRecord {
        let group = self.id.clone();
        let value = TargetAssignmentMetadataValue {
            assignment_epoch: self.target_epoch,
            assignment_timestamp: now_ms,
        };
        GroupRecord::TargetEpoch(GroupKey { group }, Some(value))
    }

    /// The assignor that most members want; of equally many the first in order.
    pub(super) fn assignor(&self) -> Assignor {
        let mut votes: BTreeMap<Assignor, usize> = BTreeMap::new();
        for member in self.members.values() {
            let wanted = member.assignor.as_deref().and_then(Assignor::named);
            if let Some(wanted) = wanted {
                *votes.entry(wanted).or_default() += 1;
            }
        }
        let most = votes.into_iter().rev().max_by_key(|(_, votes)| *votes);
        most.map_or(Assignor::Uniform, |(assignor, _)| assignor)
    }

    fn wishes(&self, desk: &Desk) -> Wishes {
        let mut wishes = Wishes::default();
        let by_rack = self.members.values().any(|member| member.rack.is_some());
        for (id, member) in &self.members {
            let names: BTreeSet<&Str> = self.topics_of(member).collect();
            let mut wish = Wish {
                instance: member.instance.clone(),
                former: self.targets.get(id).cloned().unwrap_or_default(),
                rack: member.rack.clone(),
                ..Wish::default()
            };
            for name in names {
                if let Some(topic) = desk.image.topic_named(name) {
                    wish.topics.insert(topic.id);
                    let count = topic.partitions.len() as i32;
                    let is_new = wishes.topics.insert(topic.id, count).is_none();
                    if by_rack && is_new {
                        let partitions = topic.partitions.iter();
                        let racks = partitions.map(|one| racks_of(&desk.image, one));
                        wishes.racks.insert(topic.id, racks.collect());
                    }
                }
            }
            wishes.members.insert(id.clone(), wish);
        }
        wishes
    }
}

/// The racks that have a replica of a partition.
fn racks_of(image: &Image, partition: &PartitionRecord) -> BTreeSet<Str> {
    let nodes = partition.replicas.iter().map(|replica| replica.node);
    let racks = nodes.filter_map(|node| image.broker(node)?.rack.as_deref());
    racks.map(Str::from).collect()
}
