//! OffsetFetch (rule G12).

use super::call::{Caller, fetch_outline, no_offset};
use super::offsets::{Committed, Offsets};
use super::{Body, Coordinator};
use crate::machine::image::{Image, Topic};
use millstream_net::wire::api::{
    OffsetFetchGroup, OffsetFetchGroupResult, OffsetFetchGroupTopicResult,
    OffsetFetchPartitionResult,
};
use millstream_net::wire::{ErrorCode, Uuid};
use millstream_storage::ids::TopicId;

impl Coordinator {
    /// The offsets of a group: by names of topics, from version 10 on by ids.
    pub(super) fn fetch(
        &self,
        caller: &Caller,
        asked: &OffsetFetchGroup,
    ) -> OffsetFetchGroupResult {
        let mut answer = fetch_outline(asked);
        let group = self.groups.get(&asked.group_id);
        let offsets = group.map(|group| &group.offsets);
        if let Some(Body::Consumer(consumer)) = group.map(|group| &group.body)
            && let Err(code) = consumer.judge_fetch(asked.member_id.as_ref(), asked.member_epoch)
        {
            answer.error_code = code;
            return answer;
        }
        if asked.topics.is_none() {
            answer.topics = offsets
                .map(|all| everywhere(all, &self.desk.image))
                .unwrap_or_default();
            return answer;
        }
        for topic in &mut answer.topics {
            let known = match caller.version {
                ..10 => self.desk.image.topic_named(&topic.name),
                10.. => {
                    let id = TopicId(u128::from_be_bytes(topic.topic_id.0));
                    self.desk.image.topic(id)
                }
            };
            for partition in &mut topic.partitions {
                match known {
                    None if caller.version >= 10 => {
                        partition.error_code = ErrorCode::UnknownTopicId;
                    }
                    None => {}
                    Some(known) => {
                        let index = partition.partition_index;
                        let found = offsets.and_then(|all| all.find(&known.name, index));
                        if let Some(committed) = found.filter(|one| is_of(one, known)) {
                            *partition = told(index, committed);
                        }
                    }
                }
            }
        }
        answer
    }
}

/// Every offset of a group whose topic is there.
fn everywhere(offsets: &Offsets, image: &Image) -> Vec<OffsetFetchGroupTopicResult> {
    let topics = offsets.topics().filter_map(|(name, partitions)| {
        let topic = image.topic_named(name)?;
        let partitions = partitions.iter();
        let partitions = partitions.filter(|(_, committed)| is_of(committed, topic));
        Some(OffsetFetchGroupTopicResult {
            name: name.clone(),
            topic_id: Uuid(topic.id.0.to_be_bytes()),
            partitions: partitions.map(|(index, one)| told(*index, one)).collect(),
        })
    });
    topics
        .filter(|topic| !topic.partitions.is_empty())
        .collect()
}

/// Whether an offset is of this topic and not of one that had the name before.
fn is_of(committed: &Committed, topic: &Topic) -> bool {
    committed.topic_id == Uuid::ZERO || committed.topic_id.0 == topic.id.0.to_be_bytes()
}

fn told(partition: i32, committed: &Committed) -> OffsetFetchPartitionResult {
    OffsetFetchPartitionResult {
        committed_offset: committed.offset,
        committed_leader_epoch: committed.leader_epoch,
        metadata: Some(committed.metadata.clone()),
        ..no_offset(partition)
    }
}
