//! DeleteRecords: moves the beginning of partitions forward.

use crate::wire::{ErrorCode, Str};

message! {
    /// Deletes the oldest records of partitions.
    pub struct DeleteRecordsRequest {
        /// Where.
        topics: Vec<DeleteRecordsTopic> => 0..;
        /// How long to wait for the replicas.
        timeout_ms: i32 => 0..;
    }

    /// A topic to delete from.
    pub struct DeleteRecordsTopic {
        /// The topic.
        name: Str => 0..;
        /// Its partitions.
        partitions: Vec<DeleteRecordsPartition> => 0..;
    }

    /// A partition to delete from.
    pub struct DeleteRecordsPartition {
        /// The partition.
        partition_index: i32 => 0..;
        /// Records below it go; -1 for all that are committed.
        offset: i64 => 0..;
    }

    /// What became of it.
    pub struct DeleteRecordsResponse {
        /// How long the client is held back by a quota.
        throttle_time_ms: i32 => 0..;
        /// One entry per topic of the request.
        topics: Vec<DeleteRecordsTopicResult> => 0..;
    }

    /// What became of a topic.
    pub struct DeleteRecordsTopicResult {
        /// The topic.
        name: Str => 0..;
        /// One entry per partition of the request.
        partitions: Vec<DeleteRecordsPartitionResult> => 0..;
    }

    /// What became of a partition.
    pub struct DeleteRecordsPartitionResult {
        /// The partition.
        partition_index: i32 => 0..;
        /// The offset of its oldest record now.
        low_watermark: i64 => 0..;
        /// The error, if nothing was deleted.
        error_code: ErrorCode => 0..;
    }
}
