//! The keys of consumer groups.

use super::settings::Settings;
use crate::machine::group::GroupConfig;

/// What coordinators go by.
pub(super) fn config(settings: &Settings) -> GroupConfig {
    let number = |name| settings.number_or_default(name);
    let minutes = number("offsets.retention.minutes");
    let policy = settings
        .text("group.consumer.migration.policy")
        .unwrap_or("");
    GroupConfig {
        initial_delay_ms: number("group.initial.rebalance.delay.ms") as u64,
        session_min_ms: number("group.min.session.timeout.ms") as i32,
        session_max_ms: number("group.max.session.timeout.ms") as i32,
        size_max: number("group.max.size") as usize,
        retention_ms: minutes.saturating_mul(60_000),
        retention_check_ms: number("offsets.retention.check.interval.ms") as u64,
        metadata_bytes_max: number("offset.metadata.max.bytes") as usize,
        consumer_session_ms: number("group.consumer.session.timeout.ms") as i32,
        consumer_heartbeat_ms: number("group.consumer.heartbeat.interval.ms") as i32,
        consumer_size_max: number("group.consumer.max.size") as usize,
        rewrite_bytes: GroupConfig::default().rewrite_bytes,
        upgrade: matches!(policy, "bidirectional" | "upgrade"),
        downgrade: matches!(policy, "bidirectional" | "downgrade"),
    }
}
