//! DeleteGroups: forgets groups and their offsets.

use crate::wire::{ErrorCode, Str};

message! {
    /// Deletes groups.
    pub struct DeleteGroupsRequest {
        /// The groups.
        groups_names: Vec<Str> => 0..;
    }

    /// What became of it.
    pub struct DeleteGroupsResponse {
        /// How long the client is held back by a quota.
        throttle_time_ms: i32 => 0..;
        /// One entry per group of the request.
        results: Vec<DeletableGroupResult> => 0..;
    }

    /// What became of a group.
    pub struct DeletableGroupResult {
        /// The group.
        group_id: Str => 0..;
        /// The error, if it was not deleted.
        error_code: ErrorCode => 0..;
    }
}
