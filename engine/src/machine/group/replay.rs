//! From records back to groups.
//!
//! Always: (1) records in the order of the log give the state they were written from; one that is not of this coordinator, or that
//! cannot be read, changes nothing; (2) whatever the records are, and in whatever order, the groups that are loaded are sound: of
//! what contradicts itself the later record counts, and the group is assigned anew.

use super::classic::Classic;
use super::consumer::ConsumerGroup;
use super::offsets::{Committed, Offsets};
use super::{Body, Coordinator, Group};
use crate::machine::image::Image;
use millstream_net::wire::offsets_topic::GroupRecord;
use millstream_storage::ids::Now;
use std::sync::Arc;

impl Coordinator {
    /// The next record of the log.
    pub fn replay(&mut self, record: GroupRecord) {
        match record {
            GroupRecord::LegacyOffsetCommit(key, value) | GroupRecord::OffsetCommit(key, value) => {
                match value {
                    Some(value) => {
                        let group = self.group_or_new(&key.group);
                        let committed = Committed::of(&value);
                        group.offsets.set(&key.topic, key.partition, committed);
                    }
                    None => {
                        if let Some(group) = self.groups.get_mut(&key.group) {
                            group.offsets.remove(&key.topic, key.partition);
                        }
                        self.forget_if_void(&key.group);
                    }
                }
            }
            GroupRecord::GroupMetadata(key, value) => match value {
                Some(value) => {
                    let id = key.group.own();
                    let classic = Classic::replayed(id.clone(), &value);
                    let former = self.groups.remove(&id);
                    let offsets = former.map_or(Offsets::default(), |former| former.offsets);
                    let body = Body::Classic(Box::new(classic));
                    self.groups.insert(id, Group { body, offsets });
                }
                None => {
                    if let Some(group) = self.groups.get_mut(&key.group)
                        && let Body::Classic(classic) = &mut group.body
                    {
                        **classic = Classic::new(key.group.own(), 0);
                    }
                    self.forget_if_void(&key.group);
                }
            },
            GroupRecord::ConsumerGroup(key, None) => {
                if let Some(group) = self.groups.get_mut(&key.group)
                    && let Body::Consumer(_) = &group.body
                {
                    let classic = Classic::new(key.group.own(), 0);
                    group.body = Body::Classic(Box::new(classic));
                }
                self.forget_if_void(&key.group);
            }
            other => self.replay_consumer(&other),
        }
    }

    /// A record of a consumer group. What tells that something is gone makes no group.
    fn replay_consumer(&mut self, record: &GroupRecord) {
        let (group, is_there) = match record {
            GroupRecord::ConsumerGroup(key, value) => (&key.group, value.is_some()),
            GroupRecord::TargetEpoch(key, value) => (&key.group, value.is_some()),
            GroupRecord::Member(key, value) => (&key.group, value.is_some()),
            GroupRecord::TargetMember(key, value) => (&key.group, value.is_some()),
            GroupRecord::CurrentMember(key, value) => (&key.group, value.is_some()),
            GroupRecord::RegularExpression(key, value) => (&key.group, value.is_some()),
            GroupRecord::LegacyOffsetCommit(..)
            | GroupRecord::OffsetCommit(..)
            | GroupRecord::GroupMetadata(..) => return,
        };
        if is_there {
            let group = self.group_or_new(group);
            if let Body::Classic(classic) = &group.body {
                let consumer = ConsumerGroup::new(classic.id.clone(), 0);
                group.body = Body::Consumer(Box::new(consumer));
            }
        }
        if let Some(group) = self.groups.get_mut(group)
            && let Body::Consumer(consumer) = &mut group.body
        {
            consumer.replay(&mut self.desk, record);
        }
    }

    /// Every record was replayed: sessions begin anew, and what belongs to topics that are gone goes.
    pub fn loaded(&mut self, now: Now, image: &Arc<Image>) {
        self.begin(now, image);
        for group in self.groups.values_mut() {
            group.body.loaded(&mut self.desk);
        }
        for id in self.groups.keys().cloned().collect::<Vec<_>>() {
            self.forget_offsets_of_absent_topics(&id);
            self.forget_if_void(&id);
        }
        self.expiry = Some(now.tick.after_ms(self.desk.config.retention_check_ms));
    }

    /// The state as records, from which a log can begin anew.
    pub fn records(&self) -> impl Iterator<Item = GroupRecord> + '_ {
        self.groups.iter().flat_map(|(id, group)| {
            group
                .body
                .records()
                .into_iter()
                .chain(group.offsets.records(id))
        })
    }
}
