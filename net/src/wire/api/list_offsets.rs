//! ListOffsets: offsets by timestamp, and the ends of partitions.

use crate::wire::{ErrorCode, Str};

message! {
    /// Asks for offsets.
    pub struct ListOffsetsRequest {
        /// The node of an asking replica; -1 for a consumer.
        replica_id: i32 = -1 => 0..;
        /// 0 sees what is committed, 1 only what belongs to no open transaction.
        isolation_level: i8 => 2..;
        /// What to look up.
        topics: Vec<ListOffsetsTopic> => 0..;
        /// How long to wait for a remote tier.
        timeout_ms: i32 => 10..;
    }

    /// A topic to look in.
    pub struct ListOffsetsTopic {
        /// The topic.
        name: Str => 0..;
        /// Its partitions.
        partitions: Vec<ListOffsetsPartition> => 0..;
    }

    /// A partition to look in.
    pub struct ListOffsetsPartition {
        /// The partition.
        partition_index: i32 => 0..;
        /// The epoch the client believes the leader has.
        current_leader_epoch: i32 = -1 => 4..;
        /// Milliseconds since 1970, or one of the special values of `offset_spec`.
        timestamp: i64 => 0..;
    }

    /// The offsets.
    pub struct ListOffsetsResponse {
        /// How long the client is held back by a quota.
        throttle_time_ms: i32 => 2..;
        /// One entry per topic of the request.
        topics: Vec<ListOffsetsTopicResponse> => 0..;
    }

    /// The offsets of a topic.
    pub struct ListOffsetsTopicResponse {
        /// The topic.
        name: Str => 0..;
        /// One entry per partition of the request.
        partitions: Vec<ListOffsetsPartitionResponse> => 0..;
    }

    /// The offset in a partition.
    pub struct ListOffsetsPartitionResponse {
        /// The partition.
        partition_index: i32 => 0..;
        /// The error, if it was not looked up.
        error_code: ErrorCode => 0..;
        /// The timestamp of the record found.
        timestamp: i64 = -1 => 1..;
        /// Its offset.
        offset: i64 = -1 => 1..;
        /// Its leader epoch.
        leader_epoch: i32 = -1 => 4..;
    }
}

/// Special timestamps of `ListOffsetsPartition`.
pub mod offset_spec {
    /// The end of what can be read.
    pub const LATEST: i64 = -1;
    /// The oldest record.
    pub const EARLIEST: i64 = -2;
    /// The record with the highest timestamp; from version 7.
    pub const MAX_TIMESTAMP: i64 = -3;
    /// The oldest record that is not only in a remote tier; from version 8.
    pub const EARLIEST_LOCAL: i64 = -4;
    /// The newest record in a remote tier; from version 9.
    pub const LATEST_TIERED: i64 = -5;
    /// The oldest record not yet in a remote tier; from version 11.
    pub const EARLIEST_PENDING_UPLOAD: i64 = -6;
}
