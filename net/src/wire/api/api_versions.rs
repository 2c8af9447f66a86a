//! ApiVersions: which APIs and features a broker has. The first request on most connections.

use crate::wire::{ErrorCode, Str};

message! {
    /// Asks for the broker's APIs.
    pub struct ApiVersionsRequest {
        /// The client library's name.
        client_software_name: Str => 3..;
        /// The client library's version.
        client_software_version: Str => 3..;
    }

    /// The broker's APIs and features.
    pub struct ApiVersionsResponse {
        /// The error of the request as a whole.
        error_code: ErrorCode => 0..;
        /// One range per API.
        api_keys: Vec<ApiVersionRange> => 0..;
        /// How long the client is held back by a quota.
        throttle_time_ms: i32 => 1..;
        /// Features the broker could have.
        supported_features: Vec<SupportedFeature> => 3.., tag 0;
        /// The age of the finalized features; clients ignore them where it is -1.
        finalized_features_epoch: i64 = -1 => 3.., tag 1;
        /// Features the cluster has.
        finalized_features: Vec<FinalizedFeature> => 3.., tag 2;
        /// Whether a move away from ZooKeeper may begin.
        zk_migration_ready: bool => 3.., tag 3;
    }

    /// The versions of an API that the broker answers.
    pub struct ApiVersionRange {
        /// The key.
        api_key: i16 => 0..;
        /// The lowest version.
        min_version: i16 => 0..;
        /// The highest version.
        max_version: i16 => 0..;
    }

    /// The levels of a feature that the broker can take.
    pub struct SupportedFeature {
        /// The feature.
        name: Str => 3..;
        /// The lowest level; features with 0 here are shown from version 4 only.
        min_version: i16 => 3..;
        /// The highest level.
        max_version: i16 => 3..;
    }

    /// The level of a feature that the cluster agreed on.
    pub struct FinalizedFeature {
        /// The feature.
        name: Str => 3..;
        /// The highest level in force.
        max_version_level: i16 => 3..;
        /// The lowest level in force.
        min_version_level: i16 => 3..;
    }
}
