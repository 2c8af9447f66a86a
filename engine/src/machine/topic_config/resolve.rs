//! The values a shard acts on.

use super::effective::{BrokerValues, Values, effective};
use super::keys::key;
use millstream_storage::batch::Compression;
use std::borrow::Cow;

/// The effective values of a topic, ready for use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicConfig {
    /// Old segments are deleted.
    pub delete: bool,
    /// Old values of keys are.
    pub compact: bool,
    /// `compression.type`; `None` for `producer`: batches stay as they came.
    pub compression: Option<Compression>,
    /// `max.message.bytes`.
    pub max_message_bytes: usize,
    /// `message.timestamp.type=LogAppendTime`.
    pub log_append_time: bool,
    /// `message.timestamp.before.max.ms`.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`.
    pub timestamp_after_max_ms: i64,
    /// `min.insync.replicas`.
    pub min_insync_replicas: usize,
    /// `retention.ms`, if old segments are deleted by age.
    pub retention_ms: Option<u64>,
    /// `retention.bytes`, if they are by size.
    pub retention_bytes: Option<u64>,
    /// `segment.bytes`.
    pub segment_bytes: u64,
    /// `segment.ms`.
    pub segment_ms: u64,
    /// `index.interval.bytes`.
    pub index_interval_bytes: u64,
    /// `unclean.leader.election.enable`.
    pub unclean_election: bool,
    /// `write.caching`.
    pub write_caching: bool,
}

impl TopicConfig {
    /// The effective values of a topic. A value that does not parse (set by a newer version) counts as the default.
    pub fn resolve(topic: &Values, brokers: BrokerValues<'_>) -> TopicConfig {
        let values = Resolver { topic, brokers };
        let policy = values.text("cleanup.policy");
        let has = |word: &str| policy.split(',').any(|part| part.trim() == word);
        let (delete, compact) = (has("delete"), has("compact"));
        let limit = |name| match values.number(name) {
            bound if bound >= 0 && delete => Some(bound as u64),
            _ => None,
        };
        TopicConfig {
            delete,
            compact,
            compression: compression(&values.text("compression.type")),
            max_message_bytes: values.number("max.message.bytes") as usize,
            log_append_time: values.text("message.timestamp.type") == "LogAppendTime",
            timestamp_before_max_ms: values.number("message.timestamp.before.max.ms"),
            timestamp_after_max_ms: values.number("message.timestamp.after.max.ms"),
            min_insync_replicas: values.number("min.insync.replicas") as usize,
            retention_ms: limit("retention.ms"),
            retention_bytes: limit("retention.bytes"),
            segment_bytes: values.number("segment.bytes") as u64,
            segment_ms: values.number("segment.ms") as u64,
            index_interval_bytes: values.number("index.interval.bytes") as u64,
            unclean_election: values.flag("unclean.leader.election.enable"),
            write_caching: values.flag("write.caching"),
        }
    }
}

impl Default for TopicConfig {
    /// Of a topic about which nobody says anything.
    fn default() -> TopicConfig {
        let nothing = Values::default();
        let brokers = BrokerValues {
            node: None,
            all: None,
            start: &nothing,
        };
        TopicConfig::resolve(&nothing, brokers)
    }
}

struct Resolver<'a> {
    topic: &'a Values,
    brokers: BrokerValues<'a>,
}

impl<'a> Resolver<'a> {
    fn text(&self, name: &'static str) -> Cow<'a, str> {
        let key = key(name).expect("the table has it");
        let value = effective(key, self.topic, self.brokers).value;
        match key.kind.check(&value) {
            Ok(()) => match value {
                Cow::Borrowed(value) => value.trim().into(),
                Cow::Owned(value) => value.into(),
            },
            Err(_) => key.default.into(),
        }
    }

    fn number(&self, name: &'static str) -> i64 {
        self.text(name).parse().expect("its kind is a number")
    }

    fn flag(&self, name: &'static str) -> bool {
        self.text(name).eq_ignore_ascii_case("true")
    }
}

fn compression(word: &str) -> Option<Compression> {
    match word {
        "uncompressed" => Some(Compression::None),
        word => Compression::from_name(word),
    }
}
