//! IncrementalAlterConfigs: changes single settings and leaves the others (KIP-339).

use crate::wire::{ErrorCode, Str};

message! {
    /// Changes settings.
    pub struct IncrementalAlterConfigsRequest {
        /// Of what.
        resources: Vec<AlterConfigsResource> => 0..;
        /// Whether to check only.
        validate_only: bool => 0..;
    }

    /// A resource to change.
    pub struct AlterConfigsResource {
        /// Its kind, as in DescribeConfigs.
        resource_type: i8 => 0..;
        /// Its name.
        resource_name: Str => 0..;
        /// The changes.
        configs: Vec<AlterableConfig> => 0..;
    }

    /// A change of a setting.
    pub struct AlterableConfig {
        /// The key.
        name: Str => 0..;
        /// 0 sets, 1 deletes, 2 appends to a list, 3 takes from a list.
        config_operation: i8 => 0..;
        /// The value.
        value: Option<Str> => 0..;
    }

    /// What became of it.
    pub struct IncrementalAlterConfigsResponse {
        /// How long the client is held back by a quota.
        throttle_time_ms: i32 => 0..;
        /// One entry per resource of the request.
        responses: Vec<AlterConfigsResult> => 0..;
    }

    /// What became of a resource.
    pub struct AlterConfigsResult {
        /// The error, if nothing was changed.
        error_code: ErrorCode => 0..;
        /// What was wrong, in words.
        error_message: Option<Str> => 0..;
        /// Its kind.
        resource_type: i8 => 0..;
        /// Its name.
        resource_name: Str => 0..;
    }
}
