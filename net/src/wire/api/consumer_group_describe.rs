//! ConsumerGroupDescribe: groups whose broker assigns, and their members (KIP-848).

use super::OPERATIONS_NOT_ASKED;
use crate::wire::{ErrorCode, Str, Uuid};

message! {
    /// Asks for groups.
    pub struct ConsumerGroupDescribeRequest {
        /// The groups.
        group_ids: Vec<Str> => 0..;
        /// Whether to say what the client may do with each.
        include_authorized_operations: bool => 0..;
    }

    /// The groups.
    pub struct ConsumerGroupDescribeResponse {
        /// How long the client is held back by a quota.
        throttle_time_ms: i32 => 0..;
        /// One entry per group of the request.
        groups: Vec<DescribedConsumerGroup> => 0..;
    }

    /// A group.
    pub struct DescribedConsumerGroup {
        /// The error, if it cannot be shown.
        error_code: ErrorCode => 0..;
        /// What was wrong, in words.
        error_message: Option<Str> => 0..;
        /// The group.
        group_id: Str => 0..;
        /// Its state, such as `Stable`.
        group_state: Str => 0..;
        /// Its epoch.
        group_epoch: i32 => 0..;
        /// The epoch of its target assignment.
        assignment_epoch: i32 => 0..;
        /// The assignor in use.
        assignor_name: Str => 0..;
        /// Its members.
        members: Vec<DescribedConsumerGroupMember> => 0..;
        /// What the client may do with it, as bits.
        authorized_operations: i32 = OPERATIONS_NOT_ASKED => 0..;
    }

    /// A member.
    pub struct DescribedConsumerGroupMember {
        /// The member.
        member_id: Str => 0..;
        /// The name of a static member.
        instance_id: Option<Str> => 0..;
        /// Its rack.
        rack_id: Option<Str> => 0..;
        /// Its epoch.
        member_epoch: i32 => 0..;
        /// What its client calls itself.
        client_id: Str => 0..;
        /// Where its client is.
        client_host: Str => 0..;
        /// The topics it wants.
        subscribed_topic_names: Vec<Str> => 0..;
        /// The pattern of topics it wants.
        subscribed_topic_regex: Option<Str> => 0..;
        /// What it has.
        assignment: DescribedAssignment => 0..;
        /// What it shall have.
        target_assignment: DescribedAssignment => 0..;
        /// 0 for a classic member, 1 for one of the group's own protocol.
        member_type: i8 = -1 => 1..;
    }

    /// An assignment.
    pub struct DescribedAssignment {
        /// The partitions.
        topic_partitions: Vec<DescribedTopicPartitions> => 0..;
    }

    /// Partitions of a topic.
    pub struct DescribedTopicPartitions {
        /// The topic by id.
        topic_id: Uuid => 0..;
        /// The topic by name.
        topic_name: Str => 0..;
        /// Its partitions.
        partitions: Vec<i32> => 0..;
    }
}
