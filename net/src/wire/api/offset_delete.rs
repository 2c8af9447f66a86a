//! OffsetDelete: forgets offsets of a group (KIP-496).

use crate::wire::{ErrorCode, Str};

message! {
    /// Deletes offsets.
    pub struct OffsetDeleteRequest {
        /// The group.
        group_id: Str => 0..;
        /// Where.
        topics: Vec<OffsetDeleteTopic> => 0..;
    }

    /// A topic to delete in.
    pub struct OffsetDeleteTopic {
        /// The topic.
        name: Str => 0..;
        /// Its partitions.
        partitions: Vec<OffsetDeletePartition> => 0..;
    }

    /// A partition to delete in.
    pub struct OffsetDeletePartition {
        /// The partition.
        partition_index: i32 => 0..;
    }

    /// What became of it.
    pub struct OffsetDeleteResponse {
        /// The error of the request as a whole.
        error_code: ErrorCode => 0..;
        /// How long the client is held back by a quota.
        throttle_time_ms: i32 => 0..;
        /// One entry per topic of the request.
        topics: Vec<OffsetDeleteTopicResult> => 0..;
    }

    /// What became of a topic.
    pub struct OffsetDeleteTopicResult {
        /// The topic.
        name: Str => 0..;
        /// One entry per partition of the request.
        partitions: Vec<OffsetDeletePartitionResult> => 0..;
    }

    /// What became of a partition.
    pub struct OffsetDeletePartitionResult {
        /// The partition.
        partition_index: i32 => 0..;
        /// The error, if nothing was deleted.
        error_code: ErrorCode => 0..;
    }
}
