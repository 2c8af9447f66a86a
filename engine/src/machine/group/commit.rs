//! OffsetCommit (rule G11).

use super::call::{Caller, commit_outline};
use super::offsets::{self, Committed};
use super::{Body, Coordinator, Group};
use crate::machine::image::Topic;
use millstream_net::wire::api::{
    OffsetCommitPartition, OffsetCommitRequest, OffsetCommitResponse, OffsetCommitTopic,
};
use millstream_net::wire::{ErrorCode, Str, Uuid};
use millstream_storage::ids::TopicId;
use std::sync::Arc;

impl Coordinator {
    pub(super) fn commit(
        &mut self,
        caller: &Caller,
        request: OffsetCommitRequest,
    ) -> OffsetCommitResponse {
        let mut answer = commit_outline(&request);
        if let Err(code) = self.judge_commit(caller, &request) {
            let topics = answer.topics.iter_mut();
            for partition in topics.flat_map(|topic| &mut topic.partitions) {
                partition.error_code = code;
            }
            return answer;
        }
        let expire_ms = match request.retention_time_ms {
            -1 => None,
            retention_ms => Some(self.desk.now.wall.0.saturating_add(retention_ms)),
        };
        let topics = request.topics.iter().zip(&mut answer.topics);
        for (topic, told) in topics {
            let known = self.topic_of(caller, topic);
            for (partition, told) in topic.partitions.iter().zip(&mut told.partitions) {
                told.error_code = match &known {
                    Ok(known) => self.commit_one(&request.group_id, known, partition, expire_ms),
                    Err(code) => *code,
                };
            }
        }
        self.forget_if_void(&request.group_id);
        answer
    }

    fn judge_commit(
        &mut self,
        caller: &Caller,
        request: &OffsetCommitRequest,
    ) -> Result<(), ErrorCode> {
        let epoch = request.generation_id_or_member_epoch;
        let Some(group) = self.groups.get_mut(&request.group_id) else {
            return match (epoch, caller.version) {
                (..0, _) => Ok(()),
                (_, ..9) => Err(ErrorCode::IllegalGeneration),
                (_, 9..) => Err(ErrorCode::GroupIdNotFound),
            };
        };
        match &mut group.body {
            Body::Classic(classic) => {
                let instance = request.group_instance_id.as_ref();
                classic.judge_commit(&request.member_id, instance, epoch)?;
                classic.touch(&mut self.desk, &request.member_id);
                Ok(())
            }
            Body::Consumer(consumer) => {
                consumer.judge_commit(&request.member_id, epoch, caller.version)
            }
        }
    }

    fn topic_of(
        &self,
        caller: &Caller,
        topic: &OffsetCommitTopic,
    ) -> Result<Arc<Topic>, ErrorCode> {
        let image = &self.desk.image;
        match caller.version {
            ..10 => image
                .topic_named(&topic.name)
                .ok_or(ErrorCode::UnknownTopicOrPartition),
            10.. => {
                let id = TopicId(u128::from_be_bytes(topic.topic_id.0));
                image.topic(id).ok_or(ErrorCode::UnknownTopicId)
            }
        }
        .cloned()
    }

    fn commit_one(
        &mut self,
        group: &Str,
        topic: &Topic,
        partition: &OffsetCommitPartition,
        expire_ms: Option<i64>,
    ) -> ErrorCode {
        let index = partition.partition_index;
        if usize::try_from(index).map_or(true, |index| index >= topic.partitions.len()) {
            return ErrorCode::UnknownTopicOrPartition;
        }
        let metadata = partition.committed_metadata.clone().unwrap_or_default();
        // BOUND: a record has two bytes for the length, whatever the configuration allows.
        let bytes_max = self.desk.config.metadata_bytes_max.min(i16::MAX as usize);
        if metadata.len() > bytes_max {
            return ErrorCode::OffsetMetadataTooLarge;
        }
        let committed = Committed {
            offset: partition.committed_offset,
            leader_epoch: partition.committed_leader_epoch,
            metadata: metadata.own(),
            commit_ms: self.desk.now.wall.0,
            expire_ms,
            topic_id: Uuid(topic.id.0.to_be_bytes()),
        };
        let name = Str::from(&*topic.name);
        let record = offsets::record(group, &name, index, Some(&committed));
        let group: &mut Group = self.group_or_new(group);
        group.offsets.set(&name, index, committed);
        self.desk.append(record);
        ErrorCode::None
    }
}
