//! LeaveGroup: members leave a classic group.

use crate::wire::{ErrorCode, Str};

message! {
    /// Leaves a group.
    pub struct LeaveGroupRequest {
        /// The group.
        group_id: Str => 0..;
        /// The member.
        member_id: Str => 0..=2;
        /// The members.
        members: Vec<LeavingMember> => 3..;
    }

    /// A member that leaves, by either name.
    pub struct LeavingMember {
        /// The member; empty if by the other name.
        member_id: Str => 3..;
        /// The name of a static member.
        group_instance_id: Option<Str> => 3..;
        /// Why it leaves, for logs.
        reason: Option<Str> => 5..;
    }

    /// What became of it.
    pub struct LeaveGroupResponse {
        /// How long the client is held back by a quota.
        throttle_time_ms: i32 => 1..;
        /// The error of the request as a whole.
        error_code: ErrorCode => 0..;
        /// One entry per member of the request.
        members: Vec<LeftMember> => 3..;
    }

    /// What became of a member.
    pub struct LeftMember {
        /// The member.
        member_id: Str => 3..;
        /// The name of a static member.
        group_instance_id: Option<Str> => 3..;
        /// The error, if it did not leave.
        error_code: ErrorCode => 3..;
    }
}
