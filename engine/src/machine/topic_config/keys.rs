//! The one table of topic keys: name, type, range, default, meaning, and the broker keys that are its default.
//!
//! Always: (1) a name stands here once; (2) every default passes its own check (a test proves it).
//! Leaves to others: values (`effective`), broker keys that are no default of a topic key (the node's table).

pub use crate::machine::config_kind::Kind;

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

/// A broker key that is the default of a topic key.
#[derive(Clone, Copy, Debug)]
pub struct BrokerKey {
    /// Its name.
    pub name: &'static str,
    /// How many of the topic key's units one of its own is: it may be in hours where the topic's is in milliseconds.
    pub unit: i64,
    /// What it is while nobody sets it.
    pub default: BrokerDefault,
}

/// What a broker key is while nobody sets it.
#[derive(Clone, Copy, Debug)]
pub enum BrokerDefault {
    /// The default of the topic key.
    Same,
    /// The same in its own unit.
    Own(&'static str),
    /// Nothing: the default is the next broker key's, or the topic key's alone.
    Nothing,
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
    /// The broker keys that are its default; the first that is set counts.
    pub broker_keys: &'static [BrokerKey],
    /// Whether it acts.
    pub standing: Standing,
    /// What it does, in one sentence.
    pub doc: &'static str,
}

const INT: Kind = int(0);
const LONG: Kind = long(0);
const CODECS: &[&str] = &["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"];
const HOUR_MS: i64 = 3_600_000;

const fn int(min: i64) -> Kind {
    Kind::Int {
        min,
        max: i32::MAX as i64,
    }
}

const fn long(min: i64) -> Kind {
    Kind::Int { min, max: i64::MAX }
}

const fn up_to(min: i64, max: i64) -> Kind {
    Kind::Int { min, max }
}

/// A broker key in the units of the topic key, and with its default.
macro_rules! same {
    ($name:literal) => {
        &[BrokerKey {
            name: $name,
            unit: 1,
            default: BrokerDefault::Same,
        }]
    };
}

const fn unset(name: &'static str, unit: i64) -> BrokerKey {
    BrokerKey {
        name,
        unit,
        default: BrokerDefault::Nothing,
    }
}

const fn hours(name: &'static str, default: &'static str) -> BrokerKey {
    BrokerKey {
        name,
        unit: HOUR_MS,
        default: BrokerDefault::Own(default),
    }
}

const RETENTION: &[BrokerKey] = &[
    unset("log.retention.ms", 1),
    unset("log.retention.minutes", 60_000),
    hours("log.retention.hours", "168"),
];
const ROLL: &[BrokerKey] = &[unset("log.roll.ms", 1), hours("log.roll.hours", "168")];
const JITTER: &[BrokerKey] = &[
    unset("log.roll.jitter.ms", 1),
    hours("log.roll.jitter.hours", "0"),
];
const FLUSH: &[BrokerKey] = &[unset("log.flush.interval.ms", 1)];

const fn acts(
    name: &'static str,
    broker_keys: &'static [BrokerKey],
    kind: Kind,
    default: &'static str,
    doc: &'static str,
) -> Key {
    Key {
        name,
        kind,
        default,
        broker_keys,
        standing: Standing::Acts,
        doc,
    }
}

const fn inert(
    name: &'static str,
    broker_keys: &'static [BrokerKey],
    kind: Kind,
    default: &'static str,
    doc: &'static str,
) -> Key {
    Key {
        standing: Standing::Inert,
        ..acts(name, broker_keys, kind, default, doc)
    }
}

const fn fixed(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Key {
    Key {
        standing: Standing::Fixed,
        ..acts(name, &[], kind, default, doc)
    }
}

/// Every topic key, by name.
#[rustfmt::skip]
pub const KEYS: &[Key] = &[
    acts("cleanup.policy", same!("log.cleanup.policy"), Kind::ChoiceList(&["delete", "compact"]), "delete",
        "What happens to old records: delete removes them, compact wants a key in every record and keeps them all in this version, neither keeps them too."),
    inert("compression.gzip.level", same!("compression.gzip.level"), Kind::Level(9), "-1",
        "Level where the broker compresses with gzip."),
    inert("compression.lz4.level", same!("compression.lz4.level"), up_to(1, 17), "9",
        "Level where the broker compresses with lz4."),
    acts("compression.type", same!("compression.type"), Kind::Choice(CODECS), "producer",
        "The codec batches are stored with; producer keeps what the client chose."),
    inert("compression.zstd.level", same!("compression.zstd.level"), up_to(-131_072, 22), "3",
        "Level where the broker compresses with zstd."),
    inert("delete.retention.ms", same!("log.cleaner.delete.retention.ms"), LONG, "86400000",
        "Accepted; a compacted topic keeps every record in this version."),
    inert("file.delete.delay.ms", same!("log.segment.delete.delay.ms"), LONG, "60000",
        "Accepted; files go when their last reader has."),
    inert("flush.messages", same!("log.flush.interval.messages"), long(1), "9223372036854775807",
        "Accepted; every acknowledged record is synced already."),
    inert("flush.ms", FLUSH, LONG, "9223372036854775807",
        "Accepted; every acknowledged record is synced already."),
    inert("follower.replication.throttled.replicas", &[],
        Kind::ThrottledReplicas, "", "Replicas whose catching up is throttled on the follower."),
    acts("index.interval.bytes", same!("log.index.interval.bytes"), INT, "4096",
        "Bytes of records between two entries of the offset index."),
    inert("leader.replication.throttled.replicas", &[],
        Kind::ThrottledReplicas, "", "Replicas whose catching up is throttled on the leader."),
    inert("local.retention.bytes", same!("log.local.retention.bytes"), long(-2), "-2",
        "Accepted; all segments are local."),
    inert("local.retention.ms", same!("log.local.retention.ms"), long(-2), "-2",
        "Accepted; all segments are local."),
    inert("max.compaction.lag.ms", same!("log.cleaner.max.compaction.lag.ms"), long(1), "9223372036854775807",
        "Accepted; a compacted topic keeps every record in this version."),
    acts("max.message.bytes", same!("message.max.bytes"), INT, "1048588",
        "The largest batch taken, in bytes."),
    acts("message.timestamp.after.max.ms", same!("log.message.timestamp.after.max.ms"), LONG, "3600000",
        "How far a record's timestamp may lie ahead of the broker's clock."),
    acts("message.timestamp.before.max.ms", same!("log.message.timestamp.before.max.ms"), LONG, "9223372036854775807",
        "How far a record's timestamp may lie behind the broker's clock."),
    acts("message.timestamp.type", same!("log.message.timestamp.type"), Kind::Choice(&["CreateTime", "LogAppendTime"]), "CreateTime",
        "Whether timestamps are the producer's or the time of the append."),
    inert("min.cleanable.dirty.ratio", same!("log.cleaner.min.cleanable.ratio"), Kind::Double(0.0, 1.0), "0.5",
        "Accepted; a compacted topic keeps every record in this version."),
    inert("min.compaction.lag.ms", same!("log.cleaner.min.compaction.lag.ms"), LONG, "0",
        "Accepted; a compacted topic keeps every record in this version."),
    acts("min.insync.replicas", same!("min.insync.replicas"), int(1), "1",
        "Replicas that must be in sync for acks=all."),
    inert("preallocate", same!("log.preallocate"), Kind::Bool, "false",
        "Accepted; segments are always reserved ahead."),
    fixed("remote.log.copy.disable", Kind::Bool, "false",
        "Tiered storage is not offered."),
    fixed("remote.log.delete.on.disable", Kind::Bool, "false",
        "Tiered storage is not offered."),
    fixed("remote.storage.enable", Kind::Bool, "false",
        "Tiered storage is not offered."),
    acts("retention.bytes", same!("log.retention.bytes"), long(-1), "-1",
        "Oldest segments are deleted while a partition is larger; -1 for never."),
    acts("retention.ms", RETENTION, long(-1), "604800000",
        "Segments whose newest record is older are deleted; -1 for never."),
    acts("segment.bytes", same!("log.segment.bytes"), int(1_048_576), "1073741824",
        "A segment is rolled before it is larger."),
    inert("segment.index.bytes", same!("log.index.size.max.bytes"), int(4), "10485760",
        "Accepted; indexes grow as needed."),
    inert("segment.jitter.ms", JITTER, LONG, "0",
        "Accepted; rolls are not synchronous to begin with."),
    acts("segment.ms", ROLL, long(1), "604800000",
        "A segment is rolled when its first record is this old."),
    inert("unclean.leader.election.enable", same!("unclean.leader.election.enable"), Kind::Bool, "false",
        "Accepted; a single node elects nobody else."),
    acts("write.caching", &[], Kind::Bool, "false",
        "Whether appends are acknowledged from memory: faster, and a power cut may take them."),
];

/// The key of this name.
pub fn key(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}
