//! CreateTopics.

use crate::wire::{ErrorCode, Str, Uuid};

message! {
    /// Creates topics.
    pub struct CreateTopicsRequest {
        /// The topics.
        topics: Vec<CreatableTopic> => 0..;
        /// How long to wait until all brokers know them.
        timeout_ms: i32 = 60_000 => 0..;
        /// Whether to check only.
        validate_only: bool => 1..;
    }

    /// A topic to create.
    pub struct CreatableTopic {
        /// Its name.
        name: Str => 0..;
        /// How many partitions; -1 for the broker's default, or with `assignments`.
        num_partitions: i32 => 0..;
        /// How many replicas of each; -1 for the broker's default, or with `assignments`.
        replication_factor: i16 => 0..;
        /// Where its replicas shall be; empty to leave that to the broker.
        assignments: Vec<ReplicaAssignment> => 0..;
        /// Its own settings.
        configs: Vec<CreatableTopicConfig> => 0..;
    }

    /// Where the replicas of a partition shall be.
    pub struct ReplicaAssignment {
        /// The partition.
        partition_index: i32 => 0..;
        /// The nodes, the preferred leader first.
        broker_ids: Vec<i32> => 0..;
    }

    /// A setting of a topic.
    pub struct CreatableTopicConfig {
        /// The key.
        name: Str => 0..;
        /// The value.
        value: Option<Str> => 0..;
    }

    /// What became of the topics.
    pub struct CreateTopicsResponse {
        /// How long the client is held back by a quota.
        throttle_time_ms: i32 => 2..;
        /// One entry per topic of the request.
        topics: Vec<CreatableTopicResult> => 0..;
    }

    /// What became of a topic.
    pub struct CreatableTopicResult {
        /// The topic.
        name: Str => 0..;
        /// Its id.
        topic_id: Uuid => 7..;
        /// The error, if it was not created.
        error_code: ErrorCode => 0..;
        /// What was wrong, in words.
        error_message: Option<Str> => 1..;
        /// The error, if its settings may not be shown.
        topic_config_error_code: ErrorCode => 5.., tag 0;
        /// How many partitions it has.
        num_partitions: i32 = -1 => 5..;
        /// How many replicas each has.
        replication_factor: i16 = -1 => 5..;
        /// Its settings in force; null if they may not be shown.
        configs: Option<Vec<CreatableTopicConfigEntry>> => 5..;
    }

    /// A setting in force.
    pub struct CreatableTopicConfigEntry {
        /// The key.
        name: Str => 5..;
        /// The value.
        value: Option<Str> => 5..;
        /// Whether it cannot be changed.
        read_only: bool => 5..;
        /// Where it comes from, as in DescribeConfigs.
        config_source: i8 = -1 => 5..;
        /// Whether its value is kept back.
        is_sensitive: bool => 5..;
    }
}
