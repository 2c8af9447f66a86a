//! A consumer group from its records, and as records.

use super::ConsumerGroup;
use super::member::{self, Member};
use super::partitions::Partitions;
use super::pattern::Pattern;
use crate::machine::group::desk::Desk;
use millstream_net::wire::Str;
use millstream_net::wire::offsets_topic::{
    GroupRecord, RegularExpressionValue, TargetAssignmentMemberValue,
};
use std::collections::BTreeMap;

impl ConsumerGroup {
    /// A record of this group. Members may come in any order of their records.
    pub(in super::super) fn replay(&mut self, desk: &mut Desk, record: &GroupRecord) {
        match record {
            GroupRecord::ConsumerGroup(_, Some(value)) => {
                self.epoch = value.epoch;
                self.hash = value.metadata_hash;
            }
            GroupRecord::Member(key, Some(value)) => {
                let mut member = self.replayed(&key.member_id);
                member.take_metadata(value);
                self.set_member(member);
            }
            GroupRecord::Member(key, None) => {
                self.drop_member(desk, &key.member_id);
            }
            GroupRecord::TargetEpoch(_, Some(value)) => self.target_epoch = value.assignment_epoch,
            GroupRecord::TargetMember(key, Some(value)) => {
                let target = Partitions::of_target(&value.topic_partitions);
                self.targets.insert(key.member_id.own(), target);
            }
            GroupRecord::TargetMember(key, None) => {
                self.targets.remove(&key.member_id);
            }
            GroupRecord::CurrentMember(key, Some(value)) => {
                let mut member = self.replayed(&key.member_id);
                member.take_current(value);
                // Whoever had a partition before has let go of it, or this record would not be there.
                for place in member.held().collect::<Vec<_>>() {
                    self.take_from_holder(place, &member.id);
                }
                self.set_member(member);
            }
            GroupRecord::CurrentMember(key, None) => {
                if let Some(known) = self.members.get(&key.member_id).cloned() {
                    self.set_member(Member {
                        assigned: Partitions::default(),
                        revoking: Partitions::default(),
                        since: BTreeMap::new(),
                        progress: super::Progress::Stable,
                        ..known
                    });
                }
            }
            GroupRecord::RegularExpression(key, Some(value)) => {
                let pattern = Pattern::replayed(value);
                self.patterns.insert(key.regular_expression.own(), pattern);
            }
            GroupRecord::RegularExpression(key, None) => {
                self.patterns.remove(&key.regular_expression);
            }
            _ => {}
        }
    }

    /// Makes sense of what records that contradict each other left, which no coordinator writes: members of a later epoch than
    /// their group's, targets of nobody, two members of one static name, of which the one that has it stays. Such a group is
    /// assigned anew.
    pub(super) fn make_sound(&mut self, desk: &mut Desk) {
        let named = self.members.values();
        let named = named.filter_map(|one| Some((one.id.clone(), one.instance.clone()?)));
        for (id, name) in named.collect::<Vec<_>>() {
            if *self.statics.entry(name).or_insert_with(|| id.clone()) != id {
                self.remove(desk, &id);
            }
        }
        let absent = |id: &&Str| !self.members.contains_key(*id);
        for id in self
            .targets
            .keys()
            .filter(absent)
            .cloned()
            .collect::<Vec<_>>()
        {
            self.targets.remove(&id);
            desk.append(GroupRecord::TargetMember(member::key(&self.id, &id), None));
        }
        for member in self.members.values_mut() {
            let is_away = member.epoch == member::LEFT_FOR_A_WHILE && member.instance.is_some();
            if member.epoch < 0 && !is_away {
                member.epoch = 0;
            }
        }
        let latest = self.members.values().map(|member| member.epoch).max();
        let latest = latest.unwrap_or(0).max(0);
        let outruns = self.target_epoch < latest;
        self.target_epoch = self.target_epoch.max(latest);
        if self.epoch < self.target_epoch || (outruns && self.epoch == self.target_epoch) {
            self.epoch = self.target_epoch;
            self.raise_epoch(desk);
        }
    }

    fn replayed(&self, id: &Str) -> Member {
        let known = self.members.get(id).cloned();
        known.unwrap_or_else(|| Member::new(id.own()))
    }

    fn take_from_holder(&mut self, place: super::Place, id: &Str) {
        let Some(holder) = self
            .holders
            .get(&place)
            .filter(|holder| *holder != id)
            .cloned()
        else {
            return;
        };
        let holder = self.members[&holder].clone();
        let without = |partitions: &Partitions| -> Partitions {
            partitions.iter().filter(|other| *other != place).collect()
        };
        let revoking = without(&holder.revoking);
        let mut holder = Member {
            assigned: without(&holder.assigned),
            progress: holder.progress.with(&revoking),
            revoking,
            ..holder
        };
        holder.note_epochs();
        self.set_member(holder);
    }

    /// The group as records, from which it can be replayed.
    pub(in super::super) fn records(&self) -> Vec<GroupRecord> {
        let mut records = vec![self.epoch_record()];
        for (pattern, found) in &self.patterns {
            let value = RegularExpressionValue {
                topics: found.topics.iter().cloned().collect(),
                ..RegularExpressionValue::default()
            };
            records.push(self.pattern_record(pattern, Some(value)));
        }
        for member in self.members.values() {
            records.push(member.metadata_record(&self.id));
        }
        records.push(self.target_record(0));
        for (id, target) in &self.targets {
            let value = TargetAssignmentMemberValue {
                topic_partitions: target.as_target(),
            };
            records.push(GroupRecord::TargetMember(
                member::key(&self.id, id),
                Some(value),
            ));
        }
        for member in self.members.values() {
            records.push(member.current_record(&self.id));
        }
        records
    }
}
