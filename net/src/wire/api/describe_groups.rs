//! DescribeGroups: classic groups and their members.

use bytes::Bytes;

use super::OPERATIONS_NOT_ASKED;
use crate::wire::{ErrorCode, Str};

message! {
    /// Asks for groups.
    pub struct DescribeGroupsRequest {
        /// The groups.
        groups: Vec<Str> => 0..;
        /// Whether to say what the client may do with each.
        include_authorized_operations: bool => 3..;
    }

    /// The groups.
    pub struct DescribeGroupsResponse {
        /// How long the client is held back by a quota.
        throttle_time_ms: i32 => 1..;
        /// One entry per group of the request.
        groups: Vec<DescribedGroup> => 0..;
    }

    /// A group.
    pub struct DescribedGroup {
        /// The error, if it cannot be shown.
        error_code: ErrorCode => 0..;
        /// What was wrong, in words.
        error_message: Option<Str> => 6..;
        /// The group.
        group_id: Str => 0..;
        /// Its state, such as `Stable`.
        group_state: Str => 0..;
        /// What it is for.
        protocol_type: Str => 0..;
        /// The protocol that all speak.
        protocol_data: Str => 0..;
        /// Its members.
        members: Vec<DescribedGroupMember> => 0..;
        /// What the client may do with it, as bits.
        authorized_operations: i32 = OPERATIONS_NOT_ASKED => 3..;
    }

    /// A member.
    pub struct DescribedGroupMember {
        /// The member.
        member_id: Str => 0..;
        /// The name of a static member.
        group_instance_id: Option<Str> => 4..;
        /// What its client calls itself.
        client_id: Str => 0..;
        /// Where its client is.
        client_host: Str => 0..;
        /// What it told the leader.
        member_metadata: Bytes => 0..;
        /// Its assignment.
        member_assignment: Bytes => 0..;
    }
}
