//! Produce: appends record batches to partitions.

use bytes::Bytes;

use super::{CurrentLeader, NodeEndpoint};
use crate::wire::{ErrorCode, Str, Uuid};

message! {
    /// Appends to partitions.
    pub struct ProduceRequest {
        /// Set by a transactional producer.
        transactional_id: Option<Str> => 3..;
        /// 0 asks for no answer, 1 for the leader's durability, -1 for that of all in-sync replicas.
        acks: i16 => 0..;
        /// How long to wait for the replicas.
        timeout_ms: i32 => 0..;
        /// What to append.
        topics: Vec<ProduceTopic> => 0..;
    }

    /// A topic to append to.
    pub struct ProduceTopic {
        /// The topic by name.
        name: Str => 0..=12;
        /// The topic by id.
        topic_id: Uuid => 13..;
        /// Its partitions.
        partitions: Vec<ProducePartition> => 0..;
    }

    /// A partition to append to.
    pub struct ProducePartition {
        /// The partition.
        index: i32 => 0..;
        /// One record batch, as a slice of the frame.
        records: Option<Bytes> => 0..;
    }

    /// What became of the appends.
    pub struct ProduceResponse {
        /// One entry per topic of the request.
        responses: Vec<ProduceTopicResponse> => 0..;
        /// How long the client is held back by a quota.
        throttle_time_ms: i32 => 1..;
        /// Where the leaders named in `current_leader` are.
        node_endpoints: Vec<NodeEndpoint> => 10.., tag 0;
    }

    /// What became of the appends to a topic.
    pub struct ProduceTopicResponse {
        /// The topic by name.
        name: Str => 0..=12;
        /// The topic by id.
        topic_id: Uuid => 13..;
        /// One entry per partition of the request.
        partitions: Vec<ProducePartitionResponse> => 0..;
    }

    /// What became of the append to a partition.
    pub struct ProducePartitionResponse {
        /// The partition.
        index: i32 => 0..;
        /// The error, if it was not appended.
        error_code: ErrorCode => 0..;
        /// The offset of the first record.
        base_offset: i64 = -1 => 0..;
        /// The broker's clock, where the topic has timestamps of that kind.
        log_append_time_ms: i64 = -1 => 2..;
        /// The offset of the oldest record that can be read.
        log_start_offset: i64 = -1 => 5..;
        /// The records that had the batch refused.
        record_errors: Vec<RecordError> => 8..;
        /// What was wrong, in words.
        error_message: Option<Str> => 8..;
        /// Who leads, where this broker does not.
        current_leader: CurrentLeader => 10.., tag 0;
    }

    /// A record that had its batch refused.
    pub struct RecordError {
        /// Its place in the batch, from 0.
        batch_index: i32 => 8..;
        /// What is wrong with it.
        batch_index_error_message: Option<Str> => 8..;
    }
}
