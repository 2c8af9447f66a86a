//! The keys of consumer groups.

use super::settings::{ConfigError, Settings};
use crate::machine::group::GroupConfig;

/// Pairs of which the first cannot be above the second.
const ORDERED: [(&str, &str); 4] = [
    (
        "group.min.session.timeout.ms",
        "group.max.session.timeout.ms",
    ),
    (
        "group.consumer.min.session.timeout.ms",
        "group.consumer.max.session.timeout.ms",
    ),
    (
        "group.consumer.min.heartbeat.interval.ms",
        "group.consumer.max.heartbeat.interval.ms",
    ),
    (
        "group.consumer.min.assignment.interval.ms",
        "group.consumer.max.assignment.interval.ms",
    ),
];

/// Refuses values that each have a meaning and together have none.
pub(super) fn check(settings: &Settings) -> Result<(), ConfigError> {
    let number = |name: &str| settings.number_or_default(name);
    for (least, most) in ORDERED {
        if number(least) > number(most) {
            return Err(ConfigError(format!(
                "`{least}` cannot be `{}`: `{most}` is `{}` and must not be smaller",
                number(least),
                number(most)
            )));
        }
    }
    let (heartbeat, session) = (
        "group.consumer.heartbeat.interval.ms",
        "group.consumer.session.timeout.ms",
    );
    if number(heartbeat) >= number(session) {
        return Err(ConfigError(format!(
            "`{heartbeat}` cannot be `{}`: `{session}` is `{}`, and a member shows itself more than once in that time",
            number(heartbeat),
            number(session)
        )));
    }
    Ok(())
}

/// What coordinators go by.
pub(super) fn config(settings: &Settings) -> GroupConfig {
    let number = |name: &str| settings.number_or_default(name);
    let minutes = number("offsets.retention.minutes");
    let policy = settings
        .text("group.consumer.migration.policy")
        .unwrap_or("");
    let protocols = settings
        .text("group.coordinator.rebalance.protocols")
        .unwrap_or("");
    let range = |of: &str| {
        let bound = |which| number(&format!("group.consumer.{which}.{of}")) as i32;
        (bound("min"), bound("max"))
    };
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
        consumer_assignment_ms: number("group.consumer.assignment.interval.ms") as i32,
        consumer_session_range: range("session.timeout.ms"),
        consumer_heartbeat_range: range("heartbeat.interval.ms"),
        consumer_assignment_range: range("assignment.interval.ms"),
        consumer_protocol: protocols.split(',').any(|one| one.trim() == "consumer"),
        consumer_size_max: number("group.consumer.max.size") as usize,
        rewrite_bytes: GroupConfig::default().rewrite_bytes,
        upgrade: matches!(policy, "bidirectional" | "upgrade"),
        downgrade: matches!(policy, "bidirectional" | "downgrade"),
    }
}
