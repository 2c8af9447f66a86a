//! The table of broker keys: name, type, range, default and meaning; those that are defaults of topic keys come from the
//! table of topic keys.
//!
//! Always: (1) a name stands here once; (2) every default is inside its own range (a test proves it).
//! Leaves to others: topic keys (`machine::topic_config`), reading files (`settings`), what the values mean (`Config`).

use super::{listener, settings};
pub use crate::machine::config_kind::Kind;
use crate::machine::nearest;
use crate::machine::topic_config;
use crate::machine::topic_config::keys::BrokerDefault;

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
/// Widest range of a duration in milliseconds that the protocol has 32 bits for.
const INT_MS: Kind = Kind::Int {
    min: 0,
    max: INT_MAX,
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

/// `NAME://HOST:PORT`, separated by commas.
const LISTENERS: Kind = Kind::Form {
    range: "a comma-separated list of NAME://HOST:PORT",
    check: |list| listener::parse_list(list).map(drop),
};
/// Processor numbers and ranges of them: `0-3,6`.
const CPU_LIST: Kind = Kind::Form {
    range: CPU_LIST_RANGE,
    check: |list| match settings::parse_cpus(list) {
        Some(_) => Ok(()),
        None => Err(CPU_LIST_RANGE.into()),
    },
};
const CPU_LIST_RANGE: &str = "processor numbers and ranges, such as 0-3,6";

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

/// The broker keys that are no default of a topic key.
const OWN: &[Key] = &[
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
        LISTENERS,
        "PLAINTEXT://localhost:9092",
        "Where to listen; `localhost` is both 127.0.0.1 and [::1], an empty host is every address.",
    ),
    unset(
        "advertised.listeners",
        LISTENERS,
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
        CPU_LIST,
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
        "max.request.partition.size.limit",
        COUNT,
        "2000",
        "The most partitions in one answer to DescribeTopicPartitions.",
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
    // Consumer groups.
    key(
        "group.initial.rebalance.delay.ms",
        INT_MS,
        "3000",
        "How long the first join of an empty group waits for others.",
    ),
    key(
        "group.min.session.timeout.ms",
        INT_MS,
        "6000",
        "The shortest session a member of a classic group may ask for.",
    ),
    key(
        "group.max.session.timeout.ms",
        INT_MS,
        "1800000",
        "The longest session a member of a classic group may ask for.",
    ),
    key(
        "group.max.size",
        COUNT,
        "2147483647",
        "Members of one classic group.",
    ),
    key(
        "group.coordinator.rebalance.protocols",
        Kind::Form {
            range: "a comma-separated list of classic, consumer, streams, share, with classic in it",
            check: rebalance_protocols,
        },
        "classic,consumer",
        "Which kinds of group there are; of these, classic and consumer (KIP-848) exist here.",
    ),
    key(
        "group.consumer.session.timeout.ms",
        COUNT,
        "45000",
        "How long a member of a consumer group (KIP-848) may give no sign of life.",
    ),
    key(
        "group.consumer.heartbeat.interval.ms",
        COUNT,
        "5000",
        "How often members of consumer groups are told to give a sign of life.",
    ),
    key(
        "group.consumer.assignment.interval.ms",
        INT_MS,
        "1000",
        "How long the partitions of a consumer group stay assigned as they are, at the least.",
    ),
    key(
        "group.consumer.min.session.timeout.ms",
        COUNT,
        "45000",
        "The shortest session that a consumer group may be configured with.",
    ),
    key(
        "group.consumer.max.session.timeout.ms",
        COUNT,
        "60000",
        "The longest session that a consumer group may be configured with.",
    ),
    key(
        "group.consumer.min.heartbeat.interval.ms",
        COUNT,
        "5000",
        "The shortest heartbeat interval that a consumer group may be configured with.",
    ),
    key(
        "group.consumer.max.heartbeat.interval.ms",
        COUNT,
        "15000",
        "The longest heartbeat interval that a consumer group may be configured with.",
    ),
    key(
        "group.consumer.min.assignment.interval.ms",
        INT_MS,
        "0",
        "The shortest assignment interval that a consumer group may be configured with.",
    ),
    key(
        "group.consumer.max.assignment.interval.ms",
        INT_MS,
        "15000",
        "The longest assignment interval that a consumer group may be configured with.",
    ),
    key(
        "group.consumer.max.size",
        COUNT,
        "2147483647",
        "Members of one consumer group.",
    ),
    key(
        "group.consumer.migration.policy",
        Kind::Choice(&["bidirectional", "upgrade", "downgrade", "disabled"]),
        "bidirectional",
        "Whether live groups change between the classic and the consumer protocol.",
    ),
    key(
        "offsets.topic.num.partitions",
        Kind::Int {
            min: 1,
            max: 10_000,
        },
        "50",
        "Partitions of `__consumer_offsets` when it is created.",
    ),
    key(
        "offsets.retention.minutes",
        COUNT,
        "10080",
        "How long offsets are kept once nobody consumes by them.",
    ),
    key(
        "offsets.retention.check.interval.ms",
        COUNT,
        "600000",
        "How often offsets are looked through for those.",
    ),
    key(
        "offset.metadata.max.bytes",
        Kind::Int {
            min: 0,
            max: 1 << 20,
        },
        "4096",
        "The longest text a client may commit with an offset.",
    ),
    // Known from Kafka, without effect here yet.
    inert("inter.broker.listener.name", Kind::Text, ""),
    inert("process.roles", Kind::Text, "broker,controller"),
    inert("num.network.threads", COUNT, "3"),
    inert("num.io.threads", COUNT, "8"),
    inert("queued.max.requests", COUNT, "500"),
    inert("max.connections.per.ip", COUNT, "2147483647"),
    inert("connections.max.reauth.ms", MS, "0"),
    inert("offsets.topic.replication.factor", COUNT, "3"),
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
];

/// Classic groups are not to be done without.
fn rebalance_protocols(text: &str) -> Result<(), String> {
    let words: Vec<&str> = text.split(',').map(str::trim).collect();
    let known = |word: &&str| ["classic", "consumer", "streams", "share"].contains(word);
    match words.contains(&"classic") && words.iter().all(known) {
        true => Ok(()),
        false => Err(
            "a comma-separated list of classic, consumer, streams, share, with classic in it"
                .into(),
        ),
    }
}

/// Every broker key: its own, then the defaults of topic keys.
pub fn all() -> impl Iterator<Item = Key> {
    OWN.iter().copied().chain(topic_defaults())
}

/// The broker keys that are defaults of topic keys, from the table of those.
fn topic_defaults() -> impl Iterator<Item = Key> {
    topic_config::KEYS.iter().flat_map(|topic_key| {
        topic_key.broker_keys.iter().map(|broker_key| Key {
            name: broker_key.name,
            kind: match (broker_key.unit, topic_key.kind) {
                (1, kind) => kind,
                // Hours and minutes are 32 bits wide, as in Kafka.
                (_, Kind::Int { min, .. }) => Kind::Int { min, max: INT_MAX },
                (_, kind) => kind,
            },
            default: match broker_key.default {
                BrokerDefault::Same => Some(topic_key.default),
                BrokerDefault::Own(default) => Some(default),
                BrokerDefault::Nothing => None,
            },
            standing: match topic_key.standing {
                topic_config::Standing::Acts => Standing::Acts,
                topic_config::Standing::Inert | topic_config::Standing::Fixed => Standing::Inert,
            },
            doc: topic_key.doc,
            topic_key: Some(topic_key.name),
        })
    })
}

/// The key of a name, aliases included.
pub fn find(name: &str) -> Option<Key> {
    let name = ALIASES
        .iter()
        .find(|(alias, _)| *alias == name)
        .map_or(name, |(_, name)| name);
    all().find(|key| key.name == name)
}

/// The known name that looks most like `name`, where one is near enough to be meant.
pub fn nearest(name: &str) -> Option<&'static str> {
    let names = all().map(|key| key.name);
    nearest::nearest(name, names.chain(ALIASES.iter().map(|(alias, _)| *alias)))
}
