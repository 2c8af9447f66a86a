//! ListConfigResources: what has a configuration (KIP-1142).

use crate::wire::{ErrorCode, Str};

message! {
    /// Asks for resources.
    pub struct ListConfigResourcesRequest {
        /// The kinds of resources; none for all.
        resource_types: Vec<i8> => 1..;
    }

    /// The resources.
    pub struct ListConfigResourcesResponse {
        /// How long the client is held back by a quota.
        throttle_time_ms: i32 => 0..;
        /// The error of the request as a whole.
        error_code: ErrorCode => 0..;
        /// The resources.
        config_resources: Vec<ConfigResourceListed> => 0..;
    }

    /// A resource.
    pub struct ConfigResourceListed {
        /// Its name.
        resource_name: Str => 0..;
        /// Its kind.
        resource_type: i8 = 16 => 1..;
    }
}
