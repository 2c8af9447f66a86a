//! What coordinators take from the node's configuration.

/// The values, by Kafka's keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupConfig {
    /// `group.initial.rebalance.delay.ms`.
    pub initial_delay_ms: u64,
    /// `group.min.session.timeout.ms`.
    pub session_min_ms: i32,
    /// `group.max.session.timeout.ms`.
    pub session_max_ms: i32,
    /// `group.max.size`.
    pub size_max: usize,
    /// `offsets.retention.minutes`, in ms.
    pub retention_ms: i64,
    /// `offsets.retention.check.interval.ms`.
    pub retention_check_ms: u64,
    /// `offset.metadata.max.bytes`.
    pub metadata_bytes_max: usize,
    /// `group.consumer.session.timeout.ms`.
    pub consumer_session_ms: i32,
    /// `group.consumer.heartbeat.interval.ms`.
    pub consumer_heartbeat_ms: i32,
    /// `group.consumer.max.size`.
    pub consumer_size_max: usize,
    /// Bytes of log after which the state is written anew and what came before is cut off.
    pub rewrite_bytes: u64,
    /// `group.consumer.migration.policy`: whether a live classic group may become a consumer group.
    pub upgrade: bool,
    /// The same: whether a consumer group whose last consumer leaves becomes a classic one.
    pub downgrade: bool,
}

impl Default for GroupConfig {
    fn default() -> GroupConfig {
        GroupConfig {
            initial_delay_ms: 3_000,
            session_min_ms: 6_000,
            session_max_ms: 1_800_000,
            size_max: i32::MAX as usize,
            retention_ms: 10_080 * 60_000,
            retention_check_ms: 600_000,
            metadata_bytes_max: 4_096,
            consumer_session_ms: 45_000,
            consumer_heartbeat_ms: 5_000,
            consumer_size_max: i32::MAX as usize,
            rewrite_bytes: 64 << 20,
            upgrade: true,
            downgrade: true,
        }
    }
}
