//! Heartbeat: a member of a classic group is alive.

use crate::wire::{ErrorCode, Str};

message! {
    /// A sign of life.
    pub struct HeartbeatRequest {
        /// The group.
        group_id: Str => 0..;
        /// The generation.
        generation_id: i32 => 0..;
        /// The member.
        member_id: Str => 0..;
        /// The name of a static member.
        group_instance_id: Option<Str> => 3..;
    }

    /// Whether all is well.
    pub struct HeartbeatResponse {
        /// How long the client is held back by a quota.
        throttle_time_ms: i32 => 1..;
        /// What the member has to do, if anything.
        error_code: ErrorCode => 0..;
    }
}
