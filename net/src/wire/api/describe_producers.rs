//! DescribeProducers: the producers that a partition's leader remembers (KIP-664).

use crate::wire::{ErrorCode, Str};

message! {
    /// Asks for producers.
    pub struct DescribeProducersRequest {
        /// Where.
        topics: Vec<DescribeProducersTopic> => 0..;
    }

    /// A topic to look in.
    pub struct DescribeProducersTopic {
        /// The topic.
        name: Str => 0..;
        /// Its partitions.
        partition_indexes: Vec<i32> => 0..;
    }

    /// The producers.
    pub struct DescribeProducersResponse {
        /// How long the client is held back by a quota.
        throttle_time_ms: i32 => 0..;
        /// One entry per topic of the request.
        topics: Vec<DescribeProducersTopicResult> => 0..;
    }

    /// The producers of a topic.
    pub struct DescribeProducersTopicResult {
        /// The topic.
        name: Str => 0..;
        /// One entry per partition of the request.
        partitions: Vec<DescribeProducersPartitionResult> => 0..;
    }

    /// The producers of a partition.
    pub struct DescribeProducersPartitionResult {
        /// The partition.
        partition_index: i32 => 0..;
        /// The error, if they cannot be shown.
        error_code: ErrorCode => 0..;
        /// What was wrong, in words.
        error_message: Option<Str> => 0..;
        /// The producers.
        active_producers: Vec<ActiveProducer> => 0..;
    }

    /// A producer.
    pub struct ActiveProducer {
        /// Its id.
        producer_id: i64 => 0..;
        /// Its epoch.
        producer_epoch: i32 => 0..;
        /// The sequence number of its last record.
        last_sequence: i32 = -1 => 0..;
        /// The timestamp of its last record.
        last_timestamp: i64 = -1 => 0..;
        /// The epoch of the coordinator that ended its last transaction.
        coordinator_epoch: i32 => 0..;
        /// Where its open transaction begins.
        current_txn_start_offset: i64 = -1 => 0..;
    }
}
