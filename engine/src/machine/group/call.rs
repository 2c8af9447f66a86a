//! What a coordinator is asked, and what it answers.

use millstream_net::wire::api::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, DeletableGroupResult,
    DescribedConsumerGroup, DescribedGroup, HeartbeatRequest, HeartbeatResponse, JoinGroupRequest,
    JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse, ListGroupsRequest, ListedGroup,
    OffsetCommitPartitionResult, OffsetCommitRequest, OffsetCommitResponse,
    OffsetCommitTopicResult, OffsetDeletePartitionResult, OffsetDeleteRequest,
    OffsetDeleteResponse, OffsetDeleteTopicResult, OffsetFetchGroup, OffsetFetchGroupResult,
    OffsetFetchGroupTopicResult, OffsetFetchPartitionResult, SyncGroupRequest, SyncGroupResponse,
};
use millstream_net::wire::{ErrorCode, Str};

/// The composer's name for one call; every call is answered exactly once under it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket(pub u64);

/// Who calls.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Caller {
    /// What the client calls itself.
    pub client_id: Str,
    /// Where it is, as Kafka writes it (`/127.0.0.1`).
    pub host: Str,
    /// The version of the request.
    pub version: i16,
}

/// One question about one group, or about all of a coordinator.
#[derive(Clone, PartialEq, Debug)]
pub enum Call {
    /// Join a classic group.
    Join(JoinGroupRequest),
    /// Its assignment.
    Sync(SyncGroupRequest),
    /// A member of a classic group is alive.
    Heartbeat(HeartbeatRequest),
    /// Members leave.
    Leave(LeaveGroupRequest),
    /// Commit offsets.
    Commit(OffsetCommitRequest),
    /// Committed offsets.
    Fetch(OffsetFetchGroup),
    /// Forget offsets.
    OffsetDelete(OffsetDeleteRequest),
    /// A classic group with its members.
    Describe(Str),
    /// The groups here.
    List(ListGroupsRequest),
    /// Forget a group.
    Delete(Str),
    /// A member of a consumer group is alive, joins or leaves.
    ConsumerHeartbeat(ConsumerGroupHeartbeatRequest),
    /// A consumer group with its members.
    ConsumerDescribe(Str),
}

/// What the answer to a call is.
#[derive(Clone, PartialEq, Debug)]
pub enum Answer {
    /// To `Join`.
    Join(JoinGroupResponse),
    /// To `Sync`.
    Sync(SyncGroupResponse),
    /// To `Heartbeat`.
    Heartbeat(HeartbeatResponse),
    /// To `Leave`.
    Leave(LeaveGroupResponse),
    /// To `Commit`.
    Commit(OffsetCommitResponse),
    /// To `Fetch`.
    Fetch(OffsetFetchGroupResult),
    /// To `OffsetDelete`.
    OffsetDelete(OffsetDeleteResponse),
    /// To `Describe`.
    Described(DescribedGroup),
    /// To `List`.
    Listed(Result<Vec<ListedGroup>, ErrorCode>),
    /// To `Delete`.
    Deleted(DeletableGroupResult),
    /// To `ConsumerHeartbeat`.
    ConsumerHeartbeat(ConsumerGroupHeartbeatResponse),
    /// To `ConsumerDescribe`.
    ConsumerDescribed(DescribedConsumerGroup),
}

impl Call {
    /// The group it is about, where it is about one.
    pub fn group(&self) -> Option<&Str> {
        Some(match self {
            Call::Join(request) => &request.group_id,
            Call::Sync(request) => &request.group_id,
            Call::Heartbeat(request) => &request.group_id,
            Call::Leave(request) => &request.group_id,
            Call::Commit(request) => &request.group_id,
            Call::Fetch(group) => &group.group_id,
            Call::OffsetDelete(request) => &request.group_id,
            Call::ConsumerHeartbeat(request) => &request.group_id,
            Call::Describe(group) | Call::Delete(group) | Call::ConsumerDescribe(group) => group,
            Call::List(_) => return None,
        })
    }

    /// The answer where nothing was done.
    pub fn refuse(&self, code: ErrorCode) -> Answer {
        match self {
            Call::Join(request) => Answer::Join(JoinGroupResponse {
                member_id: request.member_id.clone(),
                ..JoinGroupResponse::default()
            }),
            Call::Sync(_) => Answer::Sync(SyncGroupResponse::default()),
            Call::Heartbeat(_) => Answer::Heartbeat(HeartbeatResponse::default()),
            Call::Leave(_) => Answer::Leave(LeaveGroupResponse::default()),
            Call::Commit(request) => Answer::Commit(commit_outline(request)),
            Call::Fetch(group) => Answer::Fetch(fetch_outline(group)),
            Call::OffsetDelete(request) => Answer::OffsetDelete(delete_outline(request)),
            Call::Describe(group) => Answer::Described(DescribedGroup {
                group_id: group.clone(),
                ..DescribedGroup::default()
            }),
            Call::List(_) => Answer::Listed(Ok(Vec::new())),
            Call::Delete(group) => Answer::Deleted(DeletableGroupResult {
                group_id: group.clone(),
                ..DeletableGroupResult::default()
            }),
            Call::ConsumerHeartbeat(_) => {
                Answer::ConsumerHeartbeat(ConsumerGroupHeartbeatResponse::default())
            }
            Call::ConsumerDescribe(group) => Answer::ConsumerDescribed(DescribedConsumerGroup {
                group_id: group.clone(),
                ..DescribedConsumerGroup::default()
            }),
        }
        .spoiled(code)
    }
}

/// The answer to a commit, every partition without an error.
pub(super) fn commit_outline(request: &OffsetCommitRequest) -> OffsetCommitResponse {
    let topics = request.topics.iter().map(|topic| OffsetCommitTopicResult {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: topic
            .partitions
            .iter()
            .map(|partition| OffsetCommitPartitionResult {
                partition_index: partition.partition_index,
                error_code: ErrorCode::None,
            })
            .collect(),
    });
    OffsetCommitResponse {
        topics: topics.collect(),
        ..OffsetCommitResponse::default()
    }
}

/// The answer to a question for offsets where there are none.
pub(super) fn fetch_outline(group: &OffsetFetchGroup) -> OffsetFetchGroupResult {
    let topics = group.topics.iter().flatten();
    let topics = topics.map(|topic| OffsetFetchGroupTopicResult {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: topic
            .partition_indexes
            .iter()
            .copied()
            .map(no_offset)
            .collect(),
    });
    OffsetFetchGroupResult {
        group_id: group.group_id.clone(),
        topics: topics.collect(),
        ..OffsetFetchGroupResult::default()
    }
}

/// A partition in which nothing was committed (rule G12).
pub(super) fn no_offset(partition: i32) -> OffsetFetchPartitionResult {
    OffsetFetchPartitionResult {
        partition_index: partition,
        committed_offset: -1,
        metadata: Some(Str::default()),
        ..OffsetFetchPartitionResult::default()
    }
}

/// The answer to a deletion of offsets, every partition without an error.
pub(super) fn delete_outline(request: &OffsetDeleteRequest) -> OffsetDeleteResponse {
    let topics = request.topics.iter().map(|topic| OffsetDeleteTopicResult {
        name: topic.name.clone(),
        partitions: topic
            .partitions
            .iter()
            .map(|partition| OffsetDeletePartitionResult {
                partition_index: partition.partition_index,
                error_code: ErrorCode::None,
            })
            .collect(),
    });
    OffsetDeleteResponse {
        topics: topics.collect(),
        ..OffsetDeleteResponse::default()
    }
}

impl Answer {
    /// The same answer as a refusal: what it told cannot be vouched for.
    pub fn spoiled(self, code: ErrorCode) -> Answer {
        match self {
            Answer::Join(answer) => Answer::Join(JoinGroupResponse {
                error_code: code,
                member_id: answer.member_id,
                ..JoinGroupResponse::default()
            }),
            Answer::Sync(_) => Answer::Sync(SyncGroupResponse {
                error_code: code,
                ..SyncGroupResponse::default()
            }),
            Answer::Heartbeat(_) => Answer::Heartbeat(HeartbeatResponse {
                error_code: code,
                ..HeartbeatResponse::default()
            }),
            Answer::Leave(_) => Answer::Leave(LeaveGroupResponse {
                error_code: code,
                ..LeaveGroupResponse::default()
            }),
            Answer::Commit(mut answer) => {
                let topics = answer.topics.iter_mut();
                for partition in topics.flat_map(|topic| &mut topic.partitions) {
                    partition.error_code = code;
                }
                Answer::Commit(answer)
            }
            Answer::Fetch(mut answer) => {
                answer.error_code = code;
                let topics = answer.topics.iter_mut();
                for partition in topics.flat_map(|topic| &mut topic.partitions) {
                    *partition = no_offset(partition.partition_index);
                    partition.error_code = code;
                }
                Answer::Fetch(answer)
            }
            Answer::OffsetDelete(_) => Answer::OffsetDelete(OffsetDeleteResponse {
                error_code: code,
                ..OffsetDeleteResponse::default()
            }),
            Answer::Described(answer) => Answer::Described(DescribedGroup {
                error_code: code,
                group_id: answer.group_id,
                ..DescribedGroup::default()
            }),
            Answer::Listed(_) => Answer::Listed(Err(code)),
            Answer::Deleted(answer) => Answer::Deleted(DeletableGroupResult {
                error_code: code,
                ..answer
            }),
            Answer::ConsumerHeartbeat(_) => {
                Answer::ConsumerHeartbeat(ConsumerGroupHeartbeatResponse {
                    error_code: code,
                    ..ConsumerGroupHeartbeatResponse::default()
                })
            }
            Answer::ConsumerDescribed(answer) => {
                Answer::ConsumerDescribed(DescribedConsumerGroup {
                    error_code: code,
                    group_id: answer.group_id,
                    ..DescribedConsumerGroup::default()
                })
            }
        }
    }
}
