//! What handlers ask of a topic: whether its name is lawful, and its configuration as rules of batches, logs and partitions.

use super::settings::Settings;
use crate::machine::partition::{PartitionConfig, TimestampType};
use crate::machine::topic_config::TopicConfig;
use millstream_net::wire::ErrorCode;
use millstream_storage::batch::{BatchRules, Keys, Timestamps, Zstd};
use millstream_storage::ids::WallMs;
use millstream_storage::store::{Acknowledge, LogConfig};

/// The client id that may append to internal topics (rule P2).
pub const ADMIN_CLIENT: &str = "__admin_client";

/// BOUND: bytes of records that a rule may have decompressed.
const BATCH_DECOMPRESSED_BYTES_MAX: usize = 64 << 20;

/// Whether a topic may have this name (rule M3).
pub fn is_valid_name(name: &str) -> bool {
    let lawful = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=crate::machine::TOPIC_NAME_BYTES_MAX).contains(&name.len())
        && !matches!(name, "." | "..")
        && name.bytes().all(lawful)
}

/// What a client is told that names a topic nobody has.
pub fn unknown_topic(name: &str) -> (ErrorCode, String) {
    match is_valid_name(name) {
        true => (
            ErrorCode::UnknownTopicOrPartition,
            format!("The topic {name} does not exist."),
        ),
        false => (
            ErrorCode::InvalidTopicException,
            "This is not a topic name: it has 1 to 249 letters, digits, '.', '_' or '-'.".into(),
        ),
    }
}

/// What a batch in a Produce request of this version must keep.
pub fn batch_rules(config: &TopicConfig, version: i16, now: WallMs) -> BatchRules {
    BatchRules {
        now,
        bytes_max: config.max_message_bytes,
        segment_bytes: config.segment_bytes as usize,
        decompressed_bytes_max: BATCH_DECOMPRESSED_BYTES_MAX,
        keys: match config.compact {
            true => Keys::Required,
            false => Keys::Optional,
        },
        timestamps: match config.log_append_time {
            true => Timestamps::Appended,
            false => Timestamps::Created {
                before_ms: config.timestamp_before_max_ms,
                after_ms: config.timestamp_after_max_ms,
            },
        },
        zstd: match version {
            ..7 => Zstd::Refused,
            7.. => Zstd::Allowed,
        },
    }
}

/// The limits of a log.
pub fn log_config(config: &TopicConfig) -> LogConfig {
    LogConfig {
        segment_bytes: config.segment_bytes,
        segment_ms: config.segment_ms,
        retention_ms: config.retention_ms,
        retention_bytes: config.retention_bytes,
        acknowledge: match config.write_caching {
            true => Acknowledge::Memory,
            false => Acknowledge::Durable,
        },
        index_interval_bytes: config.index_interval_bytes,
    }
}

/// What a partition acts on.
pub fn partition_config(config: &TopicConfig, settings: &Settings) -> PartitionConfig {
    PartitionConfig {
        timestamp_type: match config.log_append_time {
            true => TimestampType::LogAppendTime,
            false => TimestampType::CreateTime,
        },
        producer_expiration_ms: settings.producer_expiration_ms,
    }
}

#[cfg(test)]
mod tests {
    use super::is_valid_name;

    #[test]
    fn topic_names_are_short_and_plain() {
        // Rule M3.
        for name in ["a", "a.b_c-D9", &"x".repeat(249), "..."] {
            assert!(is_valid_name(name), "{name}");
        }
        for name in ["", ".", "..", "a b", "a/b", "ä", &"x".repeat(250)] {
            assert!(!is_valid_name(name), "{name}");
        }
    }
}
