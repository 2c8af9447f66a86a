//! OffsetFetch: what groups have committed.

use crate::wire::{ErrorCode, Str, Uuid};

message! {
    /// Asks for committed offsets: of one group up to version 7, then of several.
    pub struct OffsetFetchRequest {
        /// The group.
        group_id: Str => 0..=7;
        /// Where; null for everywhere.
        topics: Option<Vec<OffsetFetchTopic>> => 0..=7, nullable 2..;
        /// The groups.
        groups: Vec<OffsetFetchGroup> => 8..;
        /// Whether to refuse where a transaction is about to commit another offset.
        require_stable: bool => 7..;
    }

    /// A topic to look in.
    pub struct OffsetFetchTopic {
        /// The topic.
        name: Str => 0..;
        /// Its partitions.
        partition_indexes: Vec<i32> => 0..;
    }

    /// A group to look up.
    pub struct OffsetFetchGroup {
        /// The group.
        group_id: Str => 8..;
        /// The member that asks.
        member_id: Option<Str> => 9..;
        /// Its epoch.
        member_epoch: i32 = -1 => 9..;
        /// Where; null for everywhere.
        topics: Option<Vec<OffsetFetchGroupTopic>> => 8..;
    }

    /// A topic to look in.
    pub struct OffsetFetchGroupTopic {
        /// The topic by name.
        name: Str => 8..=9;
        /// The topic by id.
        topic_id: Uuid => 10..;
        /// Its partitions.
        partition_indexes: Vec<i32> => 8..;
    }

    /// The offsets.
    pub struct OffsetFetchResponse {
        /// How long the client is held back by a quota.
        throttle_time_ms: i32 => 3..;
        /// The offsets of the one group.
        topics: Vec<OffsetFetchTopicResult> => 0..=7;
        /// The error of the one group.
        error_code: ErrorCode => 2..=7;
        /// One entry per group of the request.
        groups: Vec<OffsetFetchGroupResult> => 8..;
    }

    /// The offsets in a topic.
    pub struct OffsetFetchTopicResult {
        /// The topic.
        name: Str => 0..;
        /// Its partitions.
        partitions: Vec<OffsetFetchPartitionResult> => 0..;
    }

    /// The offset in a partition.
    pub struct OffsetFetchPartitionResult {
        /// The partition.
        partition_index: i32 => 0..;
        /// The offset; -1 if none was committed.
        committed_offset: i64 => 0..;
        /// The leader epoch that was committed with it.
        committed_leader_epoch: i32 = -1 => 5..;
        /// What the client wanted to find again.
        metadata: Option<Str> => 0..;
        /// The error, if it cannot be told.
        error_code: ErrorCode => 0..;
    }

    /// The offsets of a group.
    pub struct OffsetFetchGroupResult {
        /// The group.
        group_id: Str => 8..;
        /// Its offsets.
        topics: Vec<OffsetFetchGroupTopicResult> => 8..;
        /// The error of the group.
        error_code: ErrorCode => 8..;
    }

    /// The offsets of a group in a topic.
    pub struct OffsetFetchGroupTopicResult {
        /// The topic by name.
        name: Str => 8..=9;
        /// The topic by id.
        topic_id: Uuid => 10..;
        /// Its partitions.
        partitions: Vec<OffsetFetchPartitionResult> => 8..;
    }
}
