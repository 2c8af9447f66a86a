//! The one table of topic keys: name, type, range, default and meaning; and the values a shard acts on.
//!
//! Always: (1) a name stands here once; (2) every default passes its own check (a test proves it); (3) what was checked when it
//! was set resolves without error later.
//! Leaves to others: broker keys, where values are kept (the image).

use super::nearest::nearest;
use millstream_storage::batch::Compression;
use std::collections::BTreeMap;

/// What a value may be.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// A 32-bit number, at least this and at most that.
    Int(i32, i32),
    /// A 64-bit number, at least this and at most that.
    Long(i64, i64),
    /// A fraction, at least this and at most that.
    Double(f64, f64),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Some of these words, separated by commas; at least one.
    Choices(&'static [&'static str]),
    /// `*`, or `PARTITION:NODE`, separated by commas; may be empty.
    ThrottledReplicas,
}

/// Whether this version does what a key says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It acts.
    Acts,
    /// Its type is checked and nothing follows from it.
    Inert,
    /// Only the default is taken: the feature is not there.
    Fixed,
}

/// One topic key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Kafka's name where Kafka has the key.
    pub name: &'static str,
    /// Type and range.
    pub kind: Kind,
    /// The value where neither topic nor broker say otherwise.
    pub default: &'static str,
    /// The broker key that is its default.
    pub broker_key: &'static str,
    /// Whether it acts.
    pub standing: Standing,
    /// What it does, in one sentence.
    pub doc: &'static str,
}

const INT: Kind = Kind::Int(0, i32::MAX);
const LONG: Kind = Kind::Long(0, i64::MAX);
const FROM_MINUS_ONE: Kind = Kind::Long(-1, i64::MAX);
const CODECS: &[&str] = &["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"];

const fn acts(
    name: &'static str,
    broker_key: &'static str,
    kind: Kind,
    default: &'static str,
    doc: &'static str,
) -> Key {
    Key {
        name,
        kind,
        default,
        broker_key,
        standing: Standing::Acts,
        doc,
    }
}

const fn inert(
    name: &'static str,
    broker_key: &'static str,
    kind: Kind,
    default: &'static str,
    doc: &'static str,
) -> Key {
    Key {
        standing: Standing::Inert,
        ..acts(name, broker_key, kind, default, doc)
    }
}

const fn fixed(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Key {
    Key {
        standing: Standing::Fixed,
        ..acts(name, name, kind, default, doc)
    }
}

/// Every topic key, by name.
#[rustfmt::skip]
pub const KEYS: &[Key] = &[
    acts("cleanup.policy", "log.cleanup.policy", Kind::Choices(&["delete", "compact"]), "delete",
        "What happens to old records: they are deleted, or only the newest of each key is kept."),
    inert("compression.gzip.level", "compression.gzip.level", Kind::Int(-1, 9), "-1",
        "Level where the broker compresses with gzip."),
    inert("compression.lz4.level", "compression.lz4.level", Kind::Int(1, 17), "9",
        "Level where the broker compresses with lz4."),
    acts("compression.type", "compression.type", Kind::Choice(CODECS), "producer",
        "The codec batches are stored with; producer keeps what the client chose."),
    inert("compression.zstd.level", "compression.zstd.level", Kind::Int(-131_072, 22), "3",
        "Level where the broker compresses with zstd."),
    acts("delete.retention.ms", "log.cleaner.delete.retention.ms", LONG, "86400000",
        "How long a deletion of a key stays readable in a compacted topic."),
    inert("file.delete.delay.ms", "log.segment.delete.delay.ms", LONG, "60000",
        "Accepted; files go when their last reader has."),
    inert("flush.messages", "log.flush.interval.messages", Kind::Long(1, i64::MAX), "9223372036854775807",
        "Accepted; every acknowledged record is synced already."),
    inert("flush.ms", "log.flush.interval.ms", LONG, "9223372036854775807",
        "Accepted; every acknowledged record is synced already."),
    inert("follower.replication.throttled.replicas", "follower.replication.throttled.replicas",
        Kind::ThrottledReplicas, "", "Replicas whose catching up is throttled on the follower."),
    acts("index.interval.bytes", "log.index.interval.bytes", INT, "4096",
        "Bytes of records between two entries of the offset index."),
    inert("leader.replication.throttled.replicas", "leader.replication.throttled.replicas",
        Kind::ThrottledReplicas, "", "Replicas whose catching up is throttled on the leader."),
    inert("local.retention.bytes", "log.local.retention.bytes", Kind::Long(-2, i64::MAX), "-2",
        "Accepted; all segments are local."),
    inert("local.retention.ms", "log.local.retention.ms", Kind::Long(-2, i64::MAX), "-2",
        "Accepted; all segments are local."),
    acts("max.compaction.lag.ms", "log.cleaner.max.compaction.lag.ms", Kind::Long(1, i64::MAX), "9223372036854775807",
        "How long a record may stay uncompacted."),
    acts("max.message.bytes", "message.max.bytes", INT, "1048588",
        "The largest batch taken, in bytes."),
    acts("message.timestamp.after.max.ms", "log.message.timestamp.after.max.ms", LONG, "3600000",
        "How far a record's timestamp may lie ahead of the broker's clock."),
    acts("message.timestamp.before.max.ms", "log.message.timestamp.before.max.ms", LONG, "9223372036854775807",
        "How far a record's timestamp may lie behind the broker's clock."),
    acts("message.timestamp.type", "log.message.timestamp.type", Kind::Choice(&["CreateTime", "LogAppendTime"]), "CreateTime",
        "Whether timestamps are the producer's or the time of the append."),
    acts("min.cleanable.dirty.ratio", "log.cleaner.min.cleanable.ratio", Kind::Double(0.0, 1.0), "0.5",
        "The share of uncompacted bytes at which a log is compacted."),
    acts("min.compaction.lag.ms", "log.cleaner.min.compaction.lag.ms", LONG, "0",
        "How long a record stays uncompacted at least."),
    acts("min.insync.replicas", "min.insync.replicas", Kind::Int(1, i32::MAX), "1",
        "Replicas that must be in sync for acks=all."),
    inert("preallocate", "log.preallocate", Kind::Boolean, "false",
        "Accepted; segments are always reserved ahead."),
    fixed("remote.log.copy.disable", Kind::Boolean, "false",
        "Tiered storage is not offered."),
    fixed("remote.log.delete.on.disable", Kind::Boolean, "false",
        "Tiered storage is not offered."),
    fixed("remote.storage.enable", Kind::Boolean, "false",
        "Tiered storage is not offered."),
    acts("retention.bytes", "log.retention.bytes", FROM_MINUS_ONE, "-1",
        "Oldest segments are deleted while a partition is larger; -1 for never."),
    acts("retention.ms", "log.retention.ms", FROM_MINUS_ONE, "604800000",
        "Segments whose newest record is older are deleted; -1 for never."),
    acts("segment.bytes", "log.segment.bytes", Kind::Int(1_048_576, i32::MAX), "1073741824",
        "A segment is rolled before it is larger."),
    inert("segment.index.bytes", "log.index.size.max.bytes", Kind::Int(4, i32::MAX), "10485760",
        "Accepted; indexes grow as needed."),
    inert("segment.jitter.ms", "log.roll.jitter.ms", LONG, "0",
        "Accepted; rolls are not synchronous to begin with."),
    acts("segment.ms", "log.roll.ms", Kind::Long(1, i64::MAX), "604800000",
        "A segment is rolled when its first record is this old."),
    acts("unclean.leader.election.enable", "unclean.leader.election.enable", Kind::Boolean, "false",
        "Whether a replica that may lack records can be elected when no other is left."),
    acts("write.caching", "write.caching", Kind::Boolean, "false",
        "Whether appends are acknowledged from memory: faster, and a power cut may take them."),
];

/// Values by key.
pub type Values = BTreeMap<String, String>;

/// The key of this name.
pub fn key(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// Why a key or a value is refused; the text is the client's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadConfig(pub String);

/// Judges one key and its value.
pub fn check(name: &str, value: &str) -> Result<(), BadConfig> {
    let Some(key) = key(name) else {
        let hint = nearest(name, KEYS.iter().map(|key| key.name))
            .map_or_else(String::new, |known| format!("; the nearest one is {known}"));
        return Err(BadConfig(format!(
            "Unknown topic config name: {name}{hint}"
        )));
    };
    let refused = |what: String| {
        Err(BadConfig(format!(
            "Invalid value {value} for configuration {name}: {what}"
        )))
    };
    if key.standing == Standing::Fixed && value.trim() != key.default {
        return refused(format!("{} Only {} is taken.", key.doc, key.default));
    }
    match check_kind(key.kind, value.trim()) {
        Ok(()) => Ok(()),
        Err(what) => refused(what),
    }
}

fn check_kind(kind: Kind, value: &str) -> Result<(), String> {
    let good = match kind {
        Kind::Boolean => matches!(value.to_ascii_lowercase().as_str(), "true" | "false"),
        Kind::Int(min, max) => value.parse::<i32>().is_ok_and(|n| (min..=max).contains(&n)),
        Kind::Long(min, max) => value.parse::<i64>().is_ok_and(|n| (min..=max).contains(&n)),
        Kind::Double(min, max) => value.parse::<f64>().is_ok_and(|n| (min..=max).contains(&n)),
        Kind::Choice(words) => words.contains(&value),
        Kind::Choices(words) => value.split(',').all(|word| words.contains(&word.trim())),
        Kind::ThrottledReplicas => {
            value.is_empty() || value == "*" || value.split(',').all(is_pair)
        }
    };
    if good { Ok(()) } else { Err(expected(kind)) }
}

fn is_pair(text: &str) -> bool {
    let number = |part: &str| part.trim().parse::<u32>().is_ok();
    text.split_once(':')
        .is_some_and(|(partition, node)| number(partition) && number(node))
}

fn expected(kind: Kind) -> String {
    match kind {
        Kind::Boolean => "it must be true or false".into(),
        Kind::Int(min, max) => format!("it must be a whole number from {min} to {max}"),
        Kind::Long(min, max) => format!("it must be a whole number from {min} to {max}"),
        Kind::Double(min, max) => format!("it must be a number from {min} to {max}"),
        Kind::Choice(words) => format!("it must be one of {}", words.join(", ")),
        Kind::Choices(words) => {
            format!(
                "it must be some of {}, separated by commas",
                words.join(", ")
            )
        }
        Kind::ThrottledReplicas => "it must be * or PARTITION:NODE, separated by commas".into(),
    }
}

/// Where an effective value comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// The topic.
    Topic,
    /// A broker's value.
    Broker,
    /// Nobody set it.
    Default,
}

/// The effective value of a key: the topic's, else the broker's (`defaults`, by topic key), else the default.
pub fn effective<'a>(key: &Key, topic: &'a Values, defaults: &'a Values) -> (&'a str, Source) {
    if let Some(value) = topic.get(key.name) {
        return (value, Source::Topic);
    }
    match defaults.get(key.name) {
        Some(value) => (value, Source::Broker),
        None => (key.default, Source::Default),
    }
}

/// The values a shard acts on.
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
    pub fn resolve(topic: &Values, defaults: &Values) -> TopicConfig {
        let values = Resolver { topic, defaults };
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
            compression: compression(values.text("compression.type")),
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

struct Resolver<'a> {
    topic: &'a Values,
    defaults: &'a Values,
}

impl<'a> Resolver<'a> {
    fn text(&self, name: &'static str) -> &'a str {
        let key = key(name).expect("the table has it");
        let (value, _) = effective(key, self.topic, self.defaults);
        let value = value.trim();
        match check_kind(key.kind, value) {
            Ok(()) => value,
            Err(_) => key.default,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_passes_its_own_check_and_names_are_sorted_and_unique() {
        assert!(KEYS.is_sorted_by(|left, right| left.name < right.name));
        for key in KEYS {
            assert_eq!(check(key.name, key.default), Ok(()), "{}", key.name);
        }
    }

    #[test]
    fn an_unknown_key_names_the_nearest() {
        let refused = check("retentoin.ms", "1").unwrap_err().0;
        assert!(refused.contains("retention.ms"), "{refused}");
        assert!(check("message.format.version", "3.0").is_err());
    }

    #[test]
    fn values_out_of_range_are_refused() {
        let bad = [
            ("segment.bytes", "1048575"),
            ("segment.ms", "0"),
            ("retention.ms", "-2"),
            ("cleanup.policy", "compact,purge"),
            ("cleanup.policy", ""),
            ("min.insync.replicas", "0"),
            ("min.cleanable.dirty.ratio", "1.5"),
            ("preallocate", "yes"),
            ("remote.storage.enable", "true"),
            ("leader.replication.throttled.replicas", "1-2"),
        ];
        for (name, value) in bad {
            assert!(check(name, value).is_err(), "{name}={value}");
        }
        let good = [
            ("segment.bytes", "1048576"),
            ("cleanup.policy", "compact, delete"),
            ("unclean.leader.election.enable", "True"),
            ("follower.replication.throttled.replicas", "0:1,1:2"),
        ];
        for (name, value) in good {
            assert_eq!(check(name, value), Ok(()), "{name}={value}");
        }
    }

    #[test]
    fn the_topic_beats_the_broker_and_the_broker_the_default() {
        let value = |pairs: &[(&str, &str)]| -> Values {
            let own = |(key, value): &(&str, &str)| (key.to_string(), value.to_string());
            pairs.iter().map(own).collect()
        };
        let topic = value(&[("retention.ms", "5"), ("cleanup.policy", "delete")]);
        let broker = value(&[("retention.ms", "6"), ("segment.ms", "7")]);
        let resolved = TopicConfig::resolve(&topic, &broker);
        assert_eq!(resolved.retention_ms, Some(5));
        assert_eq!(resolved.segment_ms, 7);
        assert_eq!(resolved.segment_bytes, 1 << 30);
        let compacted = value(&[("cleanup.policy", "compact")]);
        assert_eq!(TopicConfig::resolve(&compacted, &broker).retention_ms, None);
    }
}
