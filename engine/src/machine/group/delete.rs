//! DeleteGroups, OffsetDelete (rule G13), and offsets of topics that are gone.

use super::call::delete_outline;
use super::{Body, Coordinator, offsets};
use crate::machine::image::{Delta, Image};
use millstream_net::wire::api::{DeletableGroupResult, OffsetDeleteRequest, OffsetDeleteResponse};
use millstream_net::wire::offsets_topic::{GroupKey, GroupRecord};
use millstream_net::wire::{ErrorCode, Str, Uuid};
use millstream_storage::ids::{Now, TopicId};
use std::collections::BTreeSet;
use std::sync::Arc;

impl Coordinator {
    pub(super) fn delete(&mut self, id: &Str) -> DeletableGroupResult {
        let error_code = match self.groups.get(id) {
            None => ErrorCode::GroupIdNotFound,
            Some(group) if !group.body.is_idle() => ErrorCode::NonEmptyGroup,
            Some(_) => {
                self.forget_offsets(id, |_, _| true);
                self.forget_group(id);
                ErrorCode::None
            }
        };
        DeletableGroupResult {
            group_id: id.clone(),
            error_code,
        }
    }

    pub(super) fn delete_offsets(&mut self, request: &OffsetDeleteRequest) -> OffsetDeleteResponse {
        let mut answer = delete_outline(request);
        let Some(group) = self.groups.get(&request.group_id) else {
            answer.error_code = ErrorCode::GroupIdNotFound;
            answer.topics.clear();
            return answer;
        };
        let body = &group.body;
        if !body.is_idle() && !body.is_of_consumers() {
            answer.error_code = ErrorCode::NonEmptyGroup;
            answer.topics.clear();
            return answer;
        }
        let everything = !body.is_idle();
        let subscribed = body.subscribed_topics();
        let is_subscribed = |topic: &Str| match &subscribed {
            Some(topics) => topics.contains(topic),
            None => everything,
        };
        let id = body.id().clone();
        let mut gone = BTreeSet::new();
        for topic in &mut answer.topics {
            let known = self.desk.image.topic_named(&topic.name);
            for partition in &mut topic.partitions {
                let index = partition.partition_index;
                let exists = known.is_some_and(|known| {
                    usize::try_from(index).is_ok_and(|index| index < known.partitions.len())
                });
                partition.error_code = if !exists {
                    ErrorCode::UnknownTopicOrPartition
                } else if is_subscribed(&topic.name) {
                    ErrorCode::GroupSubscribedToTopic
                } else {
                    gone.insert((topic.name.clone(), index));
                    ErrorCode::None
                };
            }
        }
        for (topic, partition) in gone {
            self.forget_offset(&id, &topic, partition);
        }
        answer
    }

    /// Topics have changed: the offsets of those that are gone go too.
    pub fn image_changed(&mut self, now: Now, image: &Arc<Image>, delta: &Delta) {
        self.begin(now, image);
        if delta.removed.is_empty() {
            return;
        }
        let gone = delta.removed.iter();
        let gone: BTreeSet<Uuid> = gone.map(|id| Uuid(id.0.to_be_bytes())).collect();
        for id in self.groups.keys().cloned().collect::<Vec<_>>() {
            self.forget_offsets(&id, |_, one| gone.contains(&one.topic_id));
            self.forget_if_void(&id);
        }
    }

    /// Forgets what a group has committed in topics that are no more, or that are others of the same name.
    pub(super) fn forget_offsets_of_absent_topics(&mut self, id: &Str) {
        let image = self.desk.image.clone();
        self.forget_offsets(id, |name, one| match one.topic_id {
            Uuid::ZERO => image.topic_named(name).is_none(),
            Uuid(bytes) => image.topic(TopicId(u128::from_be_bytes(bytes))).is_none(),
        });
    }

    /// Forgets the offsets of a group that `which` says yes to.
    pub(super) fn forget_offsets(
        &mut self,
        id: &Str,
        which: impl FnMut(&Str, &offsets::Committed) -> bool,
    ) {
        let Some(group) = self.groups.get(id) else {
            return;
        };
        for (topic, partition) in group.offsets.places(which) {
            self.forget_offset(id, &topic, partition);
        }
    }

    fn forget_offset(&mut self, id: &Str, topic: &Str, partition: i32) {
        let Some(group) = self.groups.get_mut(id) else {
            return;
        };
        if group.offsets.remove(topic, partition) {
            let record = offsets::record(id, topic, partition, None);
            self.desk.append(record);
        }
    }

    /// Forgets a group that has no members.
    pub(super) fn forget_group(&mut self, id: &Str) {
        let Some(gone) = self.groups.remove(id) else {
            return;
        };
        self.desk.timers.clear_group(id);
        match gone.body {
            Body::Classic(_) => {
                let group = id.clone();
                let record = GroupRecord::GroupMetadata(GroupKey { group }, None);
                self.desk.append(record);
            }
            Body::Consumer(consumer) => consumer.write_end(&mut self.desk),
        }
    }
}
