//! FindCoordinator: which broker keeps a group or a transactional id.

use crate::wire::{ErrorCode, Str};

message! {
    /// Asks for coordinators.
    pub struct FindCoordinatorRequest {
        /// The group or transactional id.
        key: Str => 0..=3;
        /// What the keys are: 0 groups, 1 transactional ids, 2 share groups.
        key_type: i8 => 1..;
        /// The groups or transactional ids.
        coordinator_keys: Vec<Str> => 4..;
    }

    /// The coordinators.
    pub struct FindCoordinatorResponse {
        /// How long the client is held back by a quota.
        throttle_time_ms: i32 => 1..;
        /// The error, if there is no coordinator.
        error_code: ErrorCode => 0..=3;
        /// What was wrong, in words.
        error_message: Option<Str> => 1..=3;
        /// The coordinator's node.
        node_id: i32 => 0..=3;
        /// Its advertised host.
        host: Str => 0..=3;
        /// Its advertised port.
        port: i32 => 0..=3;
        /// One entry per key of the request.
        coordinators: Vec<Coordinator> => 4..;
    }

    /// The coordinator of a key.
    pub struct Coordinator {
        /// The key.
        key: Str => 4..;
        /// Its node.
        node_id: i32 => 4..;
        /// Its advertised host.
        host: Str => 4..;
        /// Its advertised port.
        port: i32 => 4..;
        /// The error, if there is no coordinator.
        error_code: ErrorCode => 4..;
        /// What was wrong, in words.
        error_message: Option<Str> => 4..;
    }
}
