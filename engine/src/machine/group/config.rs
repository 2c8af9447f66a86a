//! What coordinators take from the node's configuration, and what a group may say otherwise for itself.
//!
//! Always: a group's own value acts from the next heartbeat of a member on, within the node's range.

use crate::machine::config_kind::Kind;
use crate::machine::image::{Configs, Image};
use crate::machine::nearest;

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
    /// `group.consumer.assignment.interval.ms`: partitions of a group are not assigned anew more often.
    pub consumer_assignment_ms: i32,
    /// What groups may ask for: `group.consumer.min.session.timeout.ms` and `max`.
    pub consumer_session_range: (i32, i32),
    /// The same of `heartbeat.interval.ms`.
    pub consumer_heartbeat_range: (i32, i32),
    /// The same of `assignment.interval.ms`.
    pub consumer_assignment_range: (i32, i32),
    /// `group.coordinator.rebalance.protocols`: whether there are consumer groups (KIP-848).
    pub consumer_protocol: bool,
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
            consumer_assignment_ms: 1_000,
            consumer_session_range: (45_000, 60_000),
            consumer_heartbeat_range: (5_000, 15_000),
            consumer_assignment_range: (0, 15_000),
            consumer_protocol: true,
            consumer_size_max: i32::MAX as usize,
            rewrite_bytes: 64 << 20,
            upgrade: true,
            downgrade: true,
        }
    }
}

/// A key that groups have values of their own of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GroupSetting {
    /// `consumer.session.timeout.ms`.
    Session,
    /// `consumer.heartbeat.interval.ms`.
    Heartbeat,
    /// `consumer.assignment.interval.ms`.
    Assignment,
}

impl GroupSetting {
    /// All, in the order of their names.
    pub const ALL: [GroupSetting; 3] = [
        GroupSetting::Assignment,
        GroupSetting::Heartbeat,
        GroupSetting::Session,
    ];

    /// The key of a name.
    pub fn named(name: &str) -> Option<GroupSetting> {
        Self::ALL.into_iter().find(|key| key.name() == name)
    }

    /// Kafka's name of it.
    pub fn name(self) -> &'static str {
        match self {
            GroupSetting::Session => "consumer.session.timeout.ms",
            GroupSetting::Heartbeat => "consumer.heartbeat.interval.ms",
            GroupSetting::Assignment => "consumer.assignment.interval.ms",
        }
    }

    /// The broker key that is its default.
    pub fn broker_key(self) -> &'static str {
        match self {
            GroupSetting::Session => "group.consumer.session.timeout.ms",
            GroupSetting::Heartbeat => "group.consumer.heartbeat.interval.ms",
            GroupSetting::Assignment => "group.consumer.assignment.interval.ms",
        }
    }

    /// What it does, in one sentence.
    pub fn doc(self) -> &'static str {
        match self {
            GroupSetting::Session => {
                "How long a member of the group (KIP-848) may give no sign of life."
            }
            GroupSetting::Heartbeat => {
                "How often members of the group are told to give a sign of life."
            }
            GroupSetting::Assignment => {
                "How long the partitions of the group stay assigned as they are, at the least."
            }
        }
    }

    /// The values a node takes.
    pub fn kind(self, config: &GroupConfig) -> Kind {
        let (min, max) = self.range(config);
        Kind::Int {
            min: min.into(),
            max: max.into(),
        }
    }

    fn range(self, config: &GroupConfig) -> (i32, i32) {
        match self {
            GroupSetting::Session => config.consumer_session_range,
            GroupSetting::Heartbeat => config.consumer_heartbeat_range,
            GroupSetting::Assignment => config.consumer_assignment_range,
        }
    }

    /// The value of a group that says nothing of its own.
    pub fn default(self, config: &GroupConfig) -> i32 {
        match self {
            GroupSetting::Session => config.consumer_session_ms,
            GroupSetting::Heartbeat => config.consumer_heartbeat_ms,
            GroupSetting::Assignment => config.consumer_assignment_ms,
        }
    }
}

impl GroupConfig {
    /// What is in force for a group.
    pub fn of_group(&self, image: &Image, group: &str, key: GroupSetting) -> i32 {
        let own = image
            .group_configs(group)
            .and_then(|own| own.get(key.name()));
        let own = own.and_then(|value| value.trim().parse::<i32>().ok());
        let (min, max) = key.range(self);
        // The node may have been started with a narrower range since.
        own.map_or(key.default(self), |own| own.max(min).min(max.max(min)))
    }

    /// Judges values that a group has and gets; the error says what is wrong.
    pub fn check_group(
        &self,
        former: Option<&Configs>,
        set: &[(&str, &str)],
    ) -> Result<(), String> {
        for (name, value) in set {
            let Some(key) = GroupSetting::named(name) else {
                let known = GroupSetting::ALL.map(GroupSetting::name);
                let hint = nearest::nearest(name, known.into_iter());
                let hint = hint.map_or(String::new(), |near| format!("; did you mean {near}?"));
                return Err(format!("Unknown group config name: {name}{hint}"));
            };
            let kind = key.kind(self);
            kind.check(value)
                .map_err(|range| format!("{name} takes {range}, and not {value}."))?;
        }
        let value = |key: GroupSetting| {
            let set = set.iter().find(|(name, _)| *name == key.name());
            let own = set.map(|(_, value)| *value);
            let own = own.or_else(|| former?.get(key.name()).map(String::as_str));
            let own = own.and_then(|value| value.trim().parse::<i32>().ok());
            own.unwrap_or(key.default(self))
        };
        match value(GroupSetting::Heartbeat) < value(GroupSetting::Session) {
            true => Ok(()),
            false => Err(
                "consumer.heartbeat.interval.ms must be less than consumer.session.timeout.ms."
                    .into(),
            ),
        }
    }
}
