//! The one table of broker keys: name, type, range, default and meaning.
//!
//! Always: (1) a name stands here once; (2) every default is inside its own range (a test proves it).
//! Leaves to others: topic keys (`machine::topic_config`), reading files (`settings`), what the values mean (`Config`).

use crate::machine::nearest;

/// What a value may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A whole number between two others, both included.
    Int { min: i64, max: i64 },
    /// Any text.
    Text,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Some of these words, separated by commas.
    ChoiceList(&'static [&'static str]),
    /// `NAME://HOST:PORT`, separated by commas.
    Listeners,
    /// Processor numbers and ranges of them: `0-3,6`.
    CpuList,
}

/// Whether this version does what a key says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It acts.
    Acts,
    /// Its type is checked and a warning says that nothing follows from it: configurations written for Kafka start
    /// unchanged.
    Inert,
}

/// One broker key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Kafka's name where Kafka has the key.
    pub name: &'static str,
    /// Type and range.
    pub kind: Kind,
    /// The value of a key that nobody sets; `None` where absence means something of its own.
    pub default: Option<&'static str>,
    /// Whether it acts.
    pub standing: Standing,
    /// What it does, in one sentence.
    pub doc: &'static str,
    /// The topic key it is the default of.
    pub topic_key: Option<&'static str>,
}

const INT_MAX: i64 = i32::MAX as i64;
const LONG_MAX: i64 = i64::MAX;

/// Widest range of a duration in milliseconds.
const MS: Kind = Kind::Int {
    min: 0,
    max: LONG_MAX,
};
const COUNT: Kind = Kind::Int {
    min: 1,
    max: INT_MAX,
};

const fn key(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Key {
    Key {
        name,
        kind,
        default: Some(default),
        standing: Standing::Acts,
        doc,
        topic_key: None,
    }
}

const fn unset(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key {
        default: None,
        ..key(name, kind, "", doc)
    }
}

const fn topic(
    name: &'static str,
    topic_key: &'static str,
    kind: Kind,
    default: &'static str,
    doc: &'static str,
) -> Key {
    Key {
        topic_key: Some(topic_key),
        ..key(name, kind, default, doc)
    }
}

const fn inert(name: &'static str, kind: Kind, default: &'static str) -> Key {
    Key {
        standing: Standing::Inert,
        ..key(
            name,
            kind,
            default,
            "Accepted, without effect in this version.",
        )
    }
}

/// Other spellings of a key, as Kafka has them.
pub const ALIASES: &[(&str, &str)] = &[("broker.id", "node.id"), ("log.dir", "log.dirs")];

/// Every broker key.
pub const KEYS: &[Key] = &[
    // Identity and place.
    key(
        "node.id",
        Kind::Int {
            min: 0,
            max: INT_MAX,
        },
        "1",
        "The number of this node in the cluster.",
    ),
    unset(
        "broker.rack",
        Kind::Text,
        "The rack (availability zone) of this node, told to clients.",
    ),
    key(
        "log.dirs",
        Kind::Text,
        "./millstream-data",
        "The data directory.",
    ),
    // Listeners.
    key(
        "listeners",
        Kind::Listeners,
        "PLAINTEXT://localhost:9092",
        "Where to listen; `localhost` is both 127.0.0.1 and [::1], an empty host is every address.",
    ),
    unset(
        "advertised.listeners",
        Kind::Listeners,
        "The addresses told to clients, one per listener name; without it a loopback listener tells its own host and any \
         other the host name.",
    ),
    key(
        "listener.security.protocol.map",
        Kind::Text,
        "PLAINTEXT:PLAINTEXT",
        "The protocol of each listener name; this version speaks PLAINTEXT.",
    ),
    // Processors, memory, disk.
    unset(
        "shards",
        Kind::Int { min: 1, max: 1024 },
        "How many shards (cores) to run; without it one per usable processor.",
    ),
    unset(
        "shard.cpus",
        Kind::CpuList,
        "The processors to pin shards to, in order; without it the first usable ones.",
    ),
    unset(
        "shard.memory.bytes",
        Kind::Int {
            min: 64 << 20,
            max: LONG_MAX,
        },
        "Memory for the log chunks of one shard; without it a quarter of the machine, shared by the shards.",
    ),
    key(
        "storage.direct-io",
        Kind::Bool,
        "true",
        "Whether the log bypasses the page cache (O_DIRECT); false is for file systems without it, such as tmpfs.",
    ),
    key(
        "storage.journal.file.bytes",
        Kind::Int {
            min: 4 << 20,
            max: 1 << 30,
        },
        "67108864",
        "The size of one journal file of a shard.",
    ),
    key(
        "storage.journal.files.max",
        Kind::Int { min: 3, max: 64 },
        "8",
        "How many journal files a shard may have before it slows producers down.",
    ),
    // Topics.
    key(
        "num.partitions",
        Kind::Int {
            min: 1,
            max: 100_000,
        },
        "1",
        "Partitions of a topic that is created without a count.",
    ),
    key(
        "default.replication.factor",
        Kind::Int {
            min: 1,
            max: 32_767,
        },
        "1",
        "Replicas of a topic that is created without a number.",
    ),
    key(
        "auto.create.topics.enable",
        Kind::Bool,
        "true",
        "Whether asking for an unknown topic creates it.",
    ),
    key(
        "delete.topic.enable",
        Kind::Bool,
        "true",
        "Whether topics can be deleted.",
    ),
    // Defaults of topic keys.
    topic(
        "log.cleanup.policy",
        "cleanup.policy",
        Kind::ChoiceList(&["delete", "compact"]),
        "delete",
        "What becomes of old records.",
    ),
    unset(
        "log.retention.ms",
        Kind::Int {
            min: -1,
            max: LONG_MAX,
        },
        "How long records are kept; -1 for ever. Comes before .minutes and .hours.",
    ),
    unset(
        "log.retention.minutes",
        Kind::Int {
            min: -1,
            max: INT_MAX,
        },
        "How long records are kept, in minutes. Comes before .hours.",
    ),
    key(
        "log.retention.hours",
        Kind::Int {
            min: -1,
            max: INT_MAX,
        },
        "168",
        "How long records are kept, in hours; -1 for ever.",
    ),
    topic(
        "log.retention.bytes",
        "retention.bytes",
        Kind::Int {
            min: -1,
            max: LONG_MAX,
        },
        "-1",
        "The size a partition is cut back to; -1 without bound.",
    ),
    topic(
        "log.segment.bytes",
        "segment.bytes",
        Kind::Int {
            min: 1 << 20,
            max: INT_MAX,
        },
        "1073741824",
        "The size at which a segment is closed.",
    ),
    unset(
        "log.roll.ms",
        Kind::Int {
            min: 1,
            max: LONG_MAX,
        },
        "The age at which a segment is closed. Comes before .hours.",
    ),
    key(
        "log.roll.hours",
        Kind::Int {
            min: 1,
            max: INT_MAX,
        },
        "168",
        "The age at which a segment is closed, in hours.",
    ),
    topic(
        "log.index.interval.bytes",
        "index.interval.bytes",
        Kind::Int {
            min: 0,
            max: INT_MAX,
        },
        "4096",
        "Bytes of log between two entries of its offset index.",
    ),
    topic(
        "message.max.bytes",
        "max.message.bytes",
        Kind::Int {
            min: 0,
            max: INT_MAX,
        },
        "1048588",
        "The largest record batch, as compressed by the client.",
    ),
    topic(
        "compression.type",
        "compression.type",
        Kind::Choice(&["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"]),
        "producer",
        "The codec batches are kept in; `producer` keeps what the client sent.",
    ),
    topic(
        "log.message.timestamp.type",
        "message.timestamp.type",
        Kind::Choice(&["CreateTime", "LogAppendTime"]),
        "CreateTime",
        "Whose clock a record's timestamp is.",
    ),
    topic(
        "log.message.timestamp.before.max.ms",
        "message.timestamp.before.max.ms",
        MS,
        "9223372036854775807",
        "How far a record's timestamp may lie in the past.",
    ),
    topic(
        "log.message.timestamp.after.max.ms",
        "message.timestamp.after.max.ms",
        MS,
        "3600000",
        "How far a record's timestamp may lie in the future.",
    ),
    topic(
        "min.insync.replicas",
        "min.insync.replicas",
        COUNT,
        "1",
        "Replicas that must have a record before acks=all is answered.",
    ),
    topic(
        "unclean.leader.election.enable",
        "unclean.leader.election.enable",
        Kind::Bool,
        "false",
        "Whether a replica that lacks acknowledged records may lead.",
    ),
    // Housekeeping.
    key(
        "log.retention.check.interval.ms",
        Kind::Int {
            min: 1,
            max: LONG_MAX,
        },
        "300000",
        "How often retention is looked at.",
    ),
    key(
        "producer.id.expiration.ms",
        Kind::Int {
            min: 1,
            max: INT_MAX,
        },
        "86400000",
        "How long the sequence of an idle idempotent producer is remembered.",
    ),
    // Requests and connections.
    key(
        "socket.request.max.bytes",
        Kind::Int {
            min: 1024,
            max: INT_MAX,
        },
        "104857600",
        "The largest request.",
    ),
    key(
        "fetch.max.bytes",
        Kind::Int {
            min: 1024,
            max: INT_MAX,
        },
        "57671680",
        "The largest answer to one fetch.",
    ),
    key(
        "max.incremental.fetch.session.cache.slots",
        Kind::Int {
            min: 0,
            max: INT_MAX,
        },
        "1000",
        "Fetch sessions of the node: readers that go on without naming their partitions again.",
    ),
    key(
        "connections.max.idle.ms",
        Kind::Int {
            min: 1,
            max: LONG_MAX,
        },
        "600000",
        "How long an idle connection stays open.",
    ),
    key(
        "max.connections",
        COUNT,
        "2147483647",
        "Connections of one node, all listeners together.",
    ),
    // Known from Kafka, without effect here yet.
    inert("inter.broker.listener.name", Kind::Text, ""),
    inert("process.roles", Kind::Text, "broker,controller"),
    inert("num.network.threads", COUNT, "3"),
    inert("num.io.threads", COUNT, "8"),
    inert("queued.max.requests", COUNT, "500"),
    inert("max.connections.per.ip", COUNT, "2147483647"),
    inert("connections.max.reauth.ms", MS, "0"),
    inert("group.initial.rebalance.delay.ms", MS, "3000"),
    inert("group.min.session.timeout.ms", MS, "6000"),
    inert("group.max.session.timeout.ms", MS, "1800000"),
    inert("group.max.size", COUNT, "2147483647"),
    inert(
        "group.coordinator.rebalance.protocols",
        Kind::Text,
        "classic,consumer",
    ),
    inert("offsets.topic.num.partitions", COUNT, "50"),
    inert("offsets.topic.replication.factor", COUNT, "3"),
    inert("offsets.retention.minutes", COUNT, "10080"),
    inert("offsets.retention.check.interval.ms", COUNT, "600000"),
    inert(
        "offset.metadata.max.bytes",
        Kind::Int {
            min: 0,
            max: INT_MAX,
        },
        "4096",
    ),
    inert("transaction.max.timeout.ms", COUNT, "900000"),
    inert("transactional.id.expiration.ms", COUNT, "604800000"),
    inert("transaction.state.log.num.partitions", COUNT, "50"),
    inert("transaction.state.log.replication.factor", COUNT, "3"),
    inert("transaction.state.log.min.isr", COUNT, "2"),
    inert(
        "transaction.partition.verification.enable",
        Kind::Bool,
        "true",
    ),
    inert(
        "share.coordinator.state.topic.replication.factor",
        COUNT,
        "3",
    ),
    inert("share.coordinator.state.topic.min.isr", COUNT, "2"),
    inert("replica.lag.time.max.ms", COUNT, "30000"),
    inert("log.cleaner.enable", Kind::Bool, "true"),
    inert("log.cleaner.threads", COUNT, "1"),
    inert("log.cleaner.backoff.ms", MS, "15000"),
    inert("log.cleaner.min.cleanable.ratio", Kind::Text, "0.5"),
    inert("log.cleaner.delete.retention.ms", MS, "86400000"),
];

/// The key of a name, aliases included.
pub fn find(name: &str) -> Option<&'static Key> {
    let name = ALIASES
        .iter()
        .find(|(alias, _)| *alias == name)
        .map_or(name, |(_, name)| name);
    KEYS.iter().find(|key| key.name == name)
}

/// The known name that looks most like `name`, where one is near enough to be meant.
pub fn nearest(name: &str) -> Option<&'static str> {
    let names = KEYS.iter().map(|key| key.name);
    nearest::nearest(name, names.chain(ALIASES.iter().map(|(alias, _)| *alias)))
}
