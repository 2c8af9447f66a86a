//! DescribeTopicPartitions: topics page by page, with their eligible leader replicas (KIP-966).

use super::OPERATIONS_NOT_ASKED;
use crate::wire::{ErrorCode, Str, Uuid};

message! {
    /// Asks for topics.
    pub struct DescribeTopicPartitionsRequest {
        /// The topics; empty for all.
        topics: Vec<DescribeTopicPartitionsTopic> => 0..;
        /// How many partitions one answer has at most.
        response_partition_limit: i32 = 2000 => 0..;
        /// Where to go on.
        cursor: Option<TopicPartitionCursor> => 0..;
    }

    /// A topic to describe.
    pub struct DescribeTopicPartitionsTopic {
        /// The topic.
        name: Str => 0..;
    }

    /// A place in the list of all partitions.
    pub struct TopicPartitionCursor {
        /// The topic to go on with.
        topic_name: Str => 0..;
        /// The partition of it to go on with.
        partition_index: i32 => 0..;
    }

    /// The topics.
    pub struct DescribeTopicPartitionsResponse {
        /// How long the client is held back by a quota.
        throttle_time_ms: i32 => 0..;
        /// The topics, in the order of their names.
        topics: Vec<DescribedTopic> => 0..;
        /// Where the next request goes on; null at the end.
        next_cursor: Option<TopicPartitionCursor> => 0..;
    }

    /// A topic.
    pub struct DescribedTopic {
        /// The error, if it cannot be shown.
        error_code: ErrorCode => 0..;
        /// The name.
        name: Option<Str> => 0..;
        /// The id.
        topic_id: Uuid => 0..;
        /// Whether the cluster keeps its own state in it.
        is_internal: bool => 0..;
        /// Its partitions.
        partitions: Vec<DescribedPartition> => 0..;
        /// What the client may do with it, as bits.
        topic_authorized_operations: i32 = OPERATIONS_NOT_ASKED => 0..;
    }

    /// A partition.
    pub struct DescribedPartition {
        /// The error, such as a missing leader.
        error_code: ErrorCode => 0..;
        /// The partition.
        partition_index: i32 => 0..;
        /// The node that leads; -1 for none.
        leader_id: i32 => 0..;
        /// The epoch it leads under.
        leader_epoch: i32 = -1 => 0..;
        /// The nodes that shall have it.
        replica_nodes: Vec<i32> => 0..;
        /// The nodes that are in sync.
        isr_nodes: Vec<i32> => 0..;
        /// The nodes that are out of sync and may lead without loss.
        eligible_leader_replicas: Option<Vec<i32>> => 0..;
        /// The last nodes known to be such.
        last_known_elr: Option<Vec<i32>> => 0..;
        /// The nodes whose replica is not available.
        offline_replicas: Vec<i32> => 0..;
    }
}
