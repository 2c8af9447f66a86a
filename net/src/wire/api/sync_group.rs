//! SyncGroup: the leader of a classic group hands in the assignments, each member gets its own.

use bytes::Bytes;

use crate::wire::{ErrorCode, Str};

message! {
    /// Asks for the assignment.
    pub struct SyncGroupRequest {
        /// The group.
        group_id: Str => 0..;
        /// The generation.
        generation_id: i32 => 0..;
        /// The member.
        member_id: Str => 0..;
        /// The name of a static member.
        group_instance_id: Option<Str> => 3..;
        /// What the group is for.
        protocol_type: Option<Str> => 5..;
        /// The protocol that all speak.
        protocol_name: Option<Str> => 5..;
        /// The assignments, from the leader only.
        assignments: Vec<SyncGroupAssignment> => 0..;
    }

    /// The assignment of a member.
    pub struct SyncGroupAssignment {
        /// The member.
        member_id: Str => 0..;
        /// The assignment; opaque here.
        assignment: Bytes => 0..;
    }

    /// The assignment of the member that asked.
    pub struct SyncGroupResponse {
        /// How long the client is held back by a quota.
        throttle_time_ms: i32 => 1..;
        /// The error, if there is none.
        error_code: ErrorCode => 0..;
        /// What the group is for.
        protocol_type: Option<Str> => 5..;
        /// The protocol that all speak.
        protocol_name: Option<Str> => 5..;
        /// The assignment.
        assignment: Bytes => 0..;
    }
}
