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

/// BOUND: what the records of one request take, about. All that a partition of `__consumer_offsets` gets in a turn is one batch, which
/// others wait for and which has to fit into the journal; Kafka's bound is that of a batch, with the same answer.
const RECORDS_BYTES_MAX: usize = 8 << 20;
/// The longest name of a topic, for one that is named by its id.
const NAME_BYTES_MAX: usize = 249;
/// What a record has besides names and metadata.
const FRAME_BYTES: usize = 96;

/// What the records of a request take at most.
fn records_bytes(request: &OffsetCommitRequest) -> usize {
    let of = |topic: &OffsetCommitTopic| {
        let name = match topic.name.len() {
            0 => NAME_BYTES_MAX,
            bytes => bytes,
        };
        let names = request.group_id.len() + name + FRAME_BYTES;
        let metadata = |one: &OffsetCommitPartition| {
            one.committed_metadata.as_ref().map_or(0, |text| text.len())
        };
        let partitions = topic.partitions.iter();
        partitions.map(|one| names + metadata(one)).sum::<usize>()
    };
    request.topics.iter().map(of).sum()
}

impl Coordinator {
    pub(super) fn commit(
        &mut self,
        caller: &Caller,
        request: OffsetCommitRequest,
    ) -> OffsetCommitResponse {
        let mut answer = commit_outline(&request);
        let judged = match records_bytes(&request) {
            ..=RECORDS_BYTES_MAX => self.judge_commit(caller, &request),
            _ => Err(ErrorCode::InvalidCommitOffsetSize),
        };
        if let Err(code) = judged {
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
