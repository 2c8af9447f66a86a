//! ListGroups: the groups that a broker keeps.

use crate::wire::{ErrorCode, Str};

message! {
    /// Asks for groups.
    pub struct ListGroupsRequest {
        /// Only those in these states; empty for all.
        states_filter: Vec<Str> => 4..;
        /// Only those of these types; empty for all.
        types_filter: Vec<Str> => 5..;
    }

    /// The groups.
    pub struct ListGroupsResponse {
        /// How long the client is held back by a quota.
        throttle_time_ms: i32 => 1..;
        /// The error of the request as a whole.
        error_code: ErrorCode => 0..;
        /// The groups.
        groups: Vec<ListedGroup> => 0..;
    }

    /// A group.
    pub struct ListedGroup {
        /// The group.
        group_id: Str => 0..;
        /// What it is for.
        protocol_type: Str => 0..;
        /// Its state, such as `Stable`.
        group_state: Str => 4..;
        /// Its type, such as `classic`.
        group_type: Str => 5..;
    }
}
