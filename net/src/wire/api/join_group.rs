//! JoinGroup: becomes a member of a classic group, and waits for the others.

use bytes::Bytes;

use crate::wire::{ErrorCode, Str};

message! {
    /// Joins a group.
    pub struct JoinGroupRequest {
        /// The group.
        group_id: Str => 0..;
        /// After how long without a heartbeat the member is taken for dead.
        session_timeout_ms: i32 => 0..;
        /// How long the member may take to join again.
        rebalance_timeout_ms: i32 = -1 => 1..;
        /// The member; empty for a new one.
        member_id: Str => 0..;
        /// The name of a static member.
        group_instance_id: Option<Str> => 5..;
        /// What the group is for, such as `consumer`.
        protocol_type: Str => 0..;
        /// The protocols the member can speak, the one it likes most first.
        protocols: Vec<JoinGroupProtocol> => 0..;
        /// Why it joins, for logs.
        reason: Option<Str> => 8..;
    }

    /// A protocol of a member.
    pub struct JoinGroupProtocol {
        /// Its name.
        name: Str => 0..;
        /// What the member tells the leader; opaque here.
        metadata: Bytes => 0..;
    }

    /// The group as it is now.
    pub struct JoinGroupResponse {
        /// How long the client is held back by a quota.
        throttle_time_ms: i32 => 2..;
        /// The error, if the member is not in.
        error_code: ErrorCode => 0..;
        /// The generation.
        generation_id: i32 = -1 => 0..;
        /// What the group is for.
        protocol_type: Option<Str> => 7..;
        /// The protocol that all speak.
        protocol_name: Option<Str> => 0.., nullable 7..;
        /// The member that assigns.
        leader: Str => 0..;
        /// Whether the leader need not assign anew.
        skip_assignment: bool => 9..;
        /// The member.
        member_id: Str => 0..;
        /// All members, for the leader only.
        members: Vec<JoinGroupMember> => 0..;
    }

    /// A member, as the leader sees it.
    pub struct JoinGroupMember {
        /// The member.
        member_id: Str => 0..;
        /// The name of a static member.
        group_instance_id: Option<Str> => 5..;
        /// What it tells the leader.
        metadata: Bytes => 0..;
    }
}
