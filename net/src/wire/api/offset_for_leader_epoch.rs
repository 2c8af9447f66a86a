//! OffsetForLeaderEpoch: where an epoch ends in a partition, for readers that look whether their log was truncated (KIP-320).

use crate::wire::{ErrorCode, Str};

message! {
    /// Asks for the ends of epochs.
    pub struct OffsetForLeaderEpochRequest {
        /// The node of an asking replica; -1 for a consumer, -2 for one that only looks.
        replica_id: i32 = -2 => 3..;
        /// What to look up.
        topics: Vec<OffsetForLeaderTopic> => 0..;
    }

    /// A topic to look in.
    pub struct OffsetForLeaderTopic {
        /// The topic.
        topic: Str => 0..;
        /// Its partitions.
        partitions: Vec<OffsetForLeaderPartition> => 0..;
    }

    /// A partition to look in.
    pub struct OffsetForLeaderPartition {
        /// The partition.
        partition: i32 => 0..;
        /// The epoch the client believes the leader has.
        current_leader_epoch: i32 = -1 => 2..;
        /// The epoch whose end is asked for.
        leader_epoch: i32 => 0..;
    }

    /// The ends of epochs.
    pub struct OffsetForLeaderEpochResponse {
        /// How long the client is held back by a quota.
        throttle_time_ms: i32 => 2..;
        /// One entry per topic of the request.
        topics: Vec<OffsetForLeaderTopicResult> => 0..;
    }

    /// The ends of epochs in a topic.
    pub struct OffsetForLeaderTopicResult {
        /// The topic.
        topic: Str => 0..;
        /// One entry per partition of the request.
        partitions: Vec<EpochEndOffset> => 0..;
    }

    /// The end of an epoch in a partition.
    pub struct EpochEndOffset {
        /// The error, if it was not looked up.
        error_code: ErrorCode => 0..;
        /// The partition.
        partition: i32 => 0..;
        /// The highest epoch of the log that is not above the one asked for.
        leader_epoch: i32 = -1 => 1..;
        /// The offset behind its last record.
        end_offset: i64 = -1 => 0..;
    }
}
