//! One test per rule of `net/PROTOCOL.md`: raw frames in, raw frames out, on a node of two shards in which everything happens at
//! once. Each test names its rule.

mod admin;
mod batches;
mod configs;
mod consumer_groups;
mod fetch;
mod forwarding;
mod framing;
mod group_configs;
mod group_migration;
mod groups;
mod metadata;
mod names;
mod offsets;
mod pieces;
mod produce;
mod records;
mod sessions;
mod topic_keys;
mod topics;
