//! DescribeConfigs: the settings of topics, brokers and other resources.

use crate::wire::{ErrorCode, Str};

message! {
    /// Asks for settings.
    pub struct DescribeConfigsRequest {
        /// Of what.
        resources: Vec<DescribeConfigsResource> => 0..;
        /// Whether to say what each setting overrides.
        include_synonyms: bool => 1..;
        /// Whether to say what each setting means.
        include_documentation: bool => 3..;
    }

    /// A resource to describe.
    pub struct DescribeConfigsResource {
        /// Its kind: 2 topic, 4 broker, 8 broker logger, 16 client metrics, 32 group.
        resource_type: i8 => 0..;
        /// Its name; empty for the defaults of all brokers.
        resource_name: Str => 0..;
        /// The keys; null for all.
        configuration_keys: Option<Vec<Str>> => 0..;
    }

    /// The settings.
    pub struct DescribeConfigsResponse {
        /// How long the client is held back by a quota.
        throttle_time_ms: i32 => 0..;
        /// One entry per resource of the request.
        results: Vec<DescribeConfigsResult> => 0..;
    }

    /// The settings of a resource.
    pub struct DescribeConfigsResult {
        /// The error, if they cannot be shown.
        error_code: ErrorCode => 0..;
        /// What was wrong, in words.
        error_message: Option<Str> => 0..;
        /// Its kind.
        resource_type: i8 => 0..;
        /// Its name.
        resource_name: Str => 0..;
        /// The settings.
        configs: Vec<DescribeConfigsEntry> => 0..;
    }

    /// A setting.
    pub struct DescribeConfigsEntry {
        /// The key.
        name: Str => 0..;
        /// The value; null if it is kept back.
        value: Option<Str> => 0..;
        /// Whether it cannot be changed.
        read_only: bool => 0..;
        /// Where it comes from: 1 topic, 2 broker, 3 default of all brokers, 4 start of the broker, 5 default, 6 logger,
        /// 7 client metrics, 8 group.
        config_source: i8 = -1 => 1..;
        /// Whether its value is kept back.
        is_sensitive: bool => 0..;
        /// What it overrides and itself, the one in force first.
        synonyms: Vec<DescribeConfigsSynonym> => 1..;
        /// Its type: 1 boolean, 2 string, 3 int, 4 short, 5 long, 6 double, 7 list, 8 class, 9 password.
        config_type: i8 => 3..;
        /// What it means.
        documentation: Option<Str> => 3..;
    }

    /// A setting that another one overrides.
    pub struct DescribeConfigsSynonym {
        /// The key.
        name: Str => 1..;
        /// The value; null if it is kept back.
        value: Option<Str> => 1..;
        /// Where it comes from.
        source: i8 => 1..;
    }
}
