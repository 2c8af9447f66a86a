//! Configuration: Kafka's key names, from a file and from the command line, checked before anything else happens.
//!
//! Always: a wrong key or value is refused with key, value, accepted range and the nearest known key; nothing is guessed.
//! Leaves to others: topic keys (`machine::topic_config`), executing what it says (`node`).

mod groups;
pub mod keys;
pub mod listener;
mod machine;
pub mod settings;
#[cfg(test)]
mod tests;

use crate::machine::group::GroupConfig;
use listener::Listener;
use millstream_storage::ids::NodeId;
use settings::Settings;
pub use settings::{ConfigError, Source};
use std::path::PathBuf;

/// Smallest memory a shard works with, where the machine has little.
const SHARD_MEMORY_BYTES_MIN: u64 = 64 << 20;

/// What a node is told before it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its number in the cluster.
    pub node_id: NodeId,
    /// Its rack.
    pub rack: Option<String>,
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// Where it listens.
    pub listeners: Vec<Listener>,
    /// The processor of every shard; their number is the number of shards.
    pub shard_cpus: Vec<usize>,
    /// Memory for the log of one shard.
    pub shard_memory_bytes: u64,
    /// Whether the log bypasses the page cache.
    pub direct_io: bool,
    /// The size of one journal file.
    pub journal_file_bytes: u64,
    /// How many journal files one shard may have.
    pub journal_files_max: u32,
    /// What new topics are like.
    pub topics: TopicDefaults,
    /// What coordinators of groups go by.
    pub groups: GroupConfig,
    /// Bounds of requests and connections.
    pub limits: Limits,
    /// How often retention is looked at.
    pub retention_check_ms: u64,
    /// How long an idle producer's sequence is remembered.
    pub producer_expiration_ms: u64,
    /// Everything as it was given.
    pub settings: Settings,
}

/// What a topic is like that says nothing of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicDefaults {
    /// Partitions.
    pub partitions: i32,
    /// Replicas.
    pub replication_factor: i16,
    /// Partitions of the topic that group coordinators live on.
    pub offsets_partitions: i32,
    /// Whether asking for an unknown topic creates it.
    pub auto_create: bool,
    /// Whether topics can be deleted.
    pub deletion: bool,
}

/// Bounds of requests and connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest request.
    pub request_bytes_max: usize,
    /// The largest answer to one fetch.
    pub fetch_bytes_max: usize,
    /// Fetch sessions of the node.
    pub fetch_sessions_max: usize,
    /// Partitions in one answer to DescribeTopicPartitions.
    pub described_partitions_max: usize,
    /// How long an idle connection stays open.
    pub idle_ms_max: u64,
    /// Connections of the node.
    pub connections_max: usize,
}

/// What the machine has, as far as defaults depend on it.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The processors this process may run on.
    pub cpus: Vec<usize>,
    /// Main memory.
    pub memory_bytes: u64,
    /// What other machines may call this one.
    pub host_name: String,
}

impl Config {
    /// Makes sense of the settings on a machine.
    pub fn new(settings: Settings, machine: &Machine) -> Result<Config, ConfigError> {
        let shard_cpus = shard_cpus(&settings, machine)?;
        let shard_memory_bytes = shard_memory_bytes(&settings, machine, shard_cpus.len())?;
        groups::check(&settings)?;
        Ok(Config {
            node_id: NodeId(settings.number_or_default("node.id") as i32),
            rack: settings.text("broker.rack").map(str::to_owned),
            data_dir: data_dir(&settings)?,
            listeners: listeners(&settings, machine)?,
            shard_cpus,
            shard_memory_bytes,
            direct_io: settings.flag("storage.direct-io"),
            journal_file_bytes: settings.number_or_default("storage.journal.file.bytes") as u64,
            journal_files_max: settings.number_or_default("storage.journal.files.max") as u32,
            topics: topic_defaults(&settings),
            groups: groups::config(&settings),
            limits: Limits {
                request_bytes_max: settings.number_or_default("socket.request.max.bytes") as usize,
                fetch_bytes_max: settings.number_or_default("fetch.max.bytes") as usize,
                fetch_sessions_max: settings
                    .number_or_default("max.incremental.fetch.session.cache.slots")
                    as usize,
                described_partitions_max: settings
                    .number_or_default("max.request.partition.size.limit")
                    as usize,
                idle_ms_max: settings.number_or_default("connections.max.idle.ms") as u64,
                connections_max: settings.number_or_default("max.connections") as usize,
            },
            retention_check_ms: settings.number_or_default("log.retention.check.interval.ms")
                as u64,
            producer_expiration_ms: settings.number_or_default("producer.id.expiration.ms") as u64,
            settings,
        })
    }
}

fn data_dir(settings: &Settings) -> Result<PathBuf, ConfigError> {
    let text = settings.text("log.dirs").unwrap_or("./millstream-data");
    if text.contains(',') {
        return Err(ConfigError(format!(
            "`log.dirs` cannot be `{text}`: this version takes one directory"
        )));
    }
    Ok(PathBuf::from(text))
}

fn listeners(settings: &Settings, machine: &Machine) -> Result<Vec<Listener>, ConfigError> {
    let list = |name: &str| match settings.text(name) {
        Some(text) => listener::parse_list(text)
            .map_err(|range| ConfigError(format!("`{name}` cannot be `{text}`: it takes {range}"))),
        None => Ok(Vec::new()),
    };
    let protocols = settings
        .text("listener.security.protocol.map")
        .unwrap_or("");
    for pair in protocols.split(',').filter(|pair| !pair.is_empty()) {
        let protocol = pair
            .rsplit_once(':')
            .map_or(pair, |(_, protocol)| protocol)
            .trim();
        if !protocol.eq_ignore_ascii_case("PLAINTEXT") {
            return Err(ConfigError(format!(
                "`listener.security.protocol.map` cannot have `{pair}`: this version speaks PLAINTEXT"
            )));
        }
    }
    listener::join(&list("listeners")?, &list("advertised.listeners")?, || {
        machine.host_name.clone()
    })
    .map_err(ConfigError)
}

fn shard_cpus(settings: &Settings, machine: &Machine) -> Result<Vec<usize>, ConfigError> {
    let given = settings.text("shard.cpus").and_then(settings::parse_cpus);
    let pinned = given.is_some();
    let usable = given.unwrap_or_else(|| machine.cpus.clone());
    if let Some(missing) = usable.iter().find(|cpu| !machine.cpus.contains(cpu)) {
        return Err(ConfigError(format!(
            "`shard.cpus` cannot have {missing}: this process may run on {:?}",
            machine.cpus
        )));
    }
    let twice = usable
        .iter()
        .enumerate()
        .find(|(at, cpu)| usable[..*at].contains(cpu));
    if let Some((_, twice)) = twice {
        return Err(ConfigError(format!(
            "`shard.cpus` cannot have {twice} twice: every shard needs its own processor"
        )));
    }
    let count = settings
        .number("shards")
        .map_or(usable.len(), |count| count as usize);
    if pinned && count > usable.len() {
        return Err(ConfigError(format!(
            "`shards` cannot be {count}: `shard.cpus` lists {} processors and every shard needs its own",
            usable.len()
        )));
    }
    // More shards than processors share them in turn: useful for tests, not for speed.
    Ok(usable.iter().copied().cycle().take(count).collect())
}

fn shard_memory_bytes(
    settings: &Settings,
    machine: &Machine,
    shards: usize,
) -> Result<u64, ConfigError> {
    let (memory, shards) = (machine.memory_bytes, shards as u64);
    let Some(given) = settings.number("shard.memory.bytes") else {
        return Ok((memory / 4 / shards).max(SHARD_MEMORY_BYTES_MIN));
    };
    let given = given as u64;
    if given.saturating_mul(shards) > memory {
        return Err(ConfigError(format!(
            "`shard.memory.bytes` cannot be `{given}`: there are {shards} shards, and {memory} bytes of memory for all of them"
        )));
    }
    Ok(given)
}

fn topic_defaults(settings: &Settings) -> TopicDefaults {
    TopicDefaults {
        partitions: settings.number_or_default("num.partitions") as i32,
        replication_factor: settings.number_or_default("default.replication.factor") as i16,
        offsets_partitions: settings.number_or_default("offsets.topic.num.partitions") as i32,
        auto_create: settings.flag("auto.create.topics.enable"),
        deletion: settings.flag("delete.topic.enable"),
    }
}
