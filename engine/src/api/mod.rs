//! Kafka's APIs, one file each: what a request asks, what the answer says. Whatever needs a partition, a shard or time is
//! left to the shard's core, which drives these.

pub mod api_versions;
pub mod batches;
pub mod brokers;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_topics;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_topic_partitions;
pub mod errand;
pub mod errors;
pub mod fetch;
pub mod find_coordinator;
pub mod groups;
pub mod incremental_alter_configs;
pub mod list_config_resources;
pub mod list_offsets;
pub mod metadata;
pub mod offset_for_leader_epoch;
mod places;
pub mod produce;
pub mod settings;
pub mod topic_names;
pub mod topics;
