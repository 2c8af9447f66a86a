//! CreatePartitions: adds partitions to topics.

use crate::wire::{ErrorCode, Str};

message! {
    /// Adds partitions.
    pub struct CreatePartitionsRequest {
        /// To which topics.
        topics: Vec<CreatePartitionsTopic> => 0..;
        /// How long to wait until all brokers know them.
        timeout_ms: i32 => 0..;
        /// Whether to check only.
        validate_only: bool => 0..;
    }

    /// A topic to add to.
    pub struct CreatePartitionsTopic {
        /// The topic.
        name: Str => 0..;
        /// How many partitions it shall have then.
        count: i32 => 0..;
        /// Where the replicas of the new ones shall be; null to leave that to the broker.
        assignments: Option<Vec<CreatePartitionsAssignment>> => 0..;
    }

    /// Where the replicas of a new partition shall be.
    pub struct CreatePartitionsAssignment {
        /// The nodes, the preferred leader first.
        broker_ids: Vec<i32> => 0..;
    }

    /// What became of it.
    pub struct CreatePartitionsResponse {
        /// How long the client is held back by a quota.
        throttle_time_ms: i32 => 0..;
        /// One entry per topic of the request.
        results: Vec<CreatePartitionsTopicResult> => 0..;
    }

    /// What became of a topic.
    pub struct CreatePartitionsTopicResult {
        /// The topic.
        name: Str => 0..;
        /// The error, if nothing was added.
        error_code: ErrorCode => 0..;
        /// What was wrong, in words.
        error_message: Option<Str> => 0..;
    }
}
