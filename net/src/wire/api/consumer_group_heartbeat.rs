//! ConsumerGroupHeartbeat: membership of a group whose broker assigns (KIP-848).

use crate::wire::{ErrorCode, Str, Uuid};

message! {
    /// A sign of life, with what changed since the last one; null and -1 stand for "as before".
    pub struct ConsumerGroupHeartbeatRequest {
        /// The group.
        group_id: Str => 0..;
        /// The member; it chooses its id itself from version 1.
        member_id: Str => 0..;
        /// Its epoch: 0 joins, -1 leaves, -2 leaves for a while.
        member_epoch: i32 => 0..;
        /// The name of a static member.
        instance_id: Option<Str> => 0..;
        /// Its rack.
        rack_id: Option<Str> => 0..;
        /// How long it may take to let go of partitions.
        rebalance_timeout_ms: i32 = -1 => 0..;
        /// The topics it wants.
        subscribed_topic_names: Option<Vec<Str>> => 0..;
        /// The pattern of topics it wants.
        subscribed_topic_regex: Option<Str> => 1..;
        /// The assignor it wants.
        server_assignor: Option<Str> => 0..;
        /// The partitions it has.
        topic_partitions: Option<Vec<HeartbeatTopicPartitions>> => 0..;
    }

    /// Partitions of a topic.
    pub struct HeartbeatTopicPartitions {
        /// The topic.
        topic_id: Uuid => 0..;
        /// Its partitions.
        partitions: Vec<i32> => 0..;
    }

    /// What the member shall do.
    pub struct ConsumerGroupHeartbeatResponse {
        /// How long the client is held back by a quota.
        throttle_time_ms: i32 => 0..;
        /// The error, if it is not a member.
        error_code: ErrorCode => 0..;
        /// What was wrong, in words.
        error_message: Option<Str> => 0..;
        /// The member.
        member_id: Option<Str> => 0..;
        /// Its epoch.
        member_epoch: i32 => 0..;
        /// When it shall give the next sign of life.
        heartbeat_interval_ms: i32 => 0..;
        /// What it shall have; null for "as before".
        assignment: Option<HeartbeatAssignment> => 0..;
    }

    /// What a member shall have.
    pub struct HeartbeatAssignment {
        /// The partitions.
        topic_partitions: Vec<HeartbeatTopicPartitions> => 0..;
    }
}
