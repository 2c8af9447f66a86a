//! OffsetCommit: a group's places in its partitions.

use crate::wire::{ErrorCode, Str, Uuid};

message! {
    /// Commits offsets.
    pub struct OffsetCommitRequest {
        /// The group.
        group_id: Str => 0..;
        /// The generation of a classic group, or the member's epoch; -1 for a commit from outside.
        generation_id_or_member_epoch: i32 = -1 => 1..;
        /// The member; empty for a commit from outside.
        member_id: Str => 1..;
        /// The name of a static member.
        group_instance_id: Option<Str> => 7..;
        /// How long to keep the offsets; -1 for the broker's default.
        retention_time_ms: i64 = -1 => 2..=4;
        /// The offsets.
        topics: Vec<OffsetCommitTopic> => 0..;
    }

    /// The offsets of a topic.
    pub struct OffsetCommitTopic {
        /// The topic by name.
        name: Str => 0..=9;
        /// The topic by id.
        topic_id: Uuid => 10..;
        /// Its partitions.
        partitions: Vec<OffsetCommitPartition> => 0..;
    }

    /// The offset in a partition.
    pub struct OffsetCommitPartition {
        /// The partition.
        partition_index: i32 => 0..;
        /// The offset of the next record to be read.
        committed_offset: i64 => 0..;
        /// The leader epoch of the last record that was read.
        committed_leader_epoch: i32 = -1 => 6..;
        /// Whatever the client wants to find again.
        committed_metadata: Option<Str> => 0..;
    }

    /// What became of it.
    pub struct OffsetCommitResponse {
        /// How long the client is held back by a quota.
        throttle_time_ms: i32 => 3..;
        /// One entry per topic of the request.
        topics: Vec<OffsetCommitTopicResult> => 0..;
    }

    /// What became of a topic.
    pub struct OffsetCommitTopicResult {
        /// The topic by name.
        name: Str => 0..=9;
        /// The topic by id.
        topic_id: Uuid => 10..;
        /// One entry per partition of the request.
        partitions: Vec<OffsetCommitPartitionResult> => 0..;
    }

    /// What became of a partition.
    pub struct OffsetCommitPartitionResult {
        /// The partition.
        partition_index: i32 => 0..;
        /// The error, if it was not committed.
        error_code: ErrorCode => 0..;
    }
}
