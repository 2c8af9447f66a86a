//! What each shard begins with, from configuration, identity and recovery.
//!
//! Always: a number of the configuration is divided among shards here and nowhere else.

use super::checks::FILES_REMEDY;
use super::config::{Config, keys};
use super::directory::Identity;
use super::random;
use super::refusal::{Refusal, code};
use crate::api::settings::{BrokerKey, Settings};
use crate::machine::controller::ControllerConfig;
use crate::machine::image::{Directory, Endpoint, Registration};
use crate::machine::quorum::SingleNode;
use crate::shard::beside;
use crate::shard::core::routes::Route;
use crate::shard::core::{ControlSeed, Core, CoreSeed};
use crate::shard::mail::Mail;
use crate::shard::rings::Mailbox;
use crate::shard::run::ShardSeed;
use crate::shard::shell::read_clocks;
use millstream_net::conn::{ConnLimits, ListenerIndex};
use millstream_net::io::SocketLimits;
use millstream_storage::cache::SlabPool;
use millstream_storage::ids::ShardIndex;
use millstream_storage::io::{DirectIo, DiskExecutor};
use millstream_storage::recovery::RecoveredNode;
use millstream_storage::store::StoreConfig;
use std::os::fd::{OwnedFd, RawFd};
use std::sync::Arc;

/// Plain TCP, by Kafka's number.
const PLAINTEXT: i16 = 0;
/// Memory that executors may keep free for reuse, per shard.
const FREE_SLABS_BYTES: usize = 16 << 20;
/// Descriptors of a node besides those of its shards: the lock, what is listened on, standard streams, and some to spare.
const FILES_OF_NODE: u64 = 64;
/// Descriptors of a shard besides segments and connections: ring, journal, checkpoint, metadata log, events, and some to spare.
const FILES_OF_SHARD: u64 = 64;
/// Segments that a shard has open at least.
const SEGMENTS_MIN: u64 = 64;
/// Connections that a shard takes at least.
const CONNECTIONS_MIN: u64 = 32;

/// The descriptors of one shard. Connections never take those that segments are opened with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Descriptors {
    /// Segments that may be open.
    pub segments: u64,
    /// Connections that may be open.
    pub connections: u64,
}

impl Descriptors {
    /// Divides those that a process may have among its shards.
    pub fn of(files_max: u64, shards: usize) -> Result<Descriptors, Refusal> {
        let shards = shards as u64;
        let wanted = FILES_OF_NODE + shards * (FILES_OF_SHARD + SEGMENTS_MIN + CONNECTIONS_MIN);
        if files_max < wanted {
            return Err(Refusal::new(format!(
                "the limit of open files is too small: {files_max}, and {shards} shards need {wanted}"
            ))
            .remedy(FILES_REMEDY)
            .code(code::SYSTEM));
        }
        let own = (files_max - FILES_OF_NODE) / shards - FILES_OF_SHARD;
        let segments = (own / 2).clamp(SEGMENTS_MIN, 1 << 20);
        Ok(Descriptors {
            segments,
            connections: own - segments,
        })
    }
}

/// What a node is made of before its shards are.
pub struct Parts<'a> {
    /// What it is told.
    pub config: &'a Config,
    /// Who it is.
    pub identity: &'a Identity,
    /// Its logs.
    pub recovered: RecoveredNode,
    /// Its metadata log.
    pub quorum: SingleNode,
    /// Descriptors of each of its shards.
    pub descriptors: Descriptors,
}

/// The seeds of all cores, by shard.
pub fn cores(parts: Parts<'_>) -> Result<Vec<CoreSeed>, Refusal> {
    let Parts {
        config,
        identity,
        recovered,
        quorum,
        descriptors,
    } = parts;
    let shards = config.shard_cpus.len();
    let settings = Arc::new(settings(config));
    let mut control = Some(control(config, identity, &recovered, quorum)?);
    let random = random::bits().map_err(no_random)? as u64;
    let seeds = recovered.shards.into_iter().map(|recovered| CoreSeed {
        shard: recovered.shard,
        shard_count: shards as u16,
        settings: settings.clone(),
        conn_limits: ConnLimits {
            idle_ms: config.limits.idle_ms_max,
            shard_outgoing_bytes_max: (config.shard_memory_bytes / 4) as usize,
            ..ConnLimits::default()
        },
        store: store(config, recovered.shard, descriptors),
        random: random.wrapping_add(u64::from(recovered.shard.0)),
        // Shard 0 comes first and takes it.
        control: control.take(),
        recovered,
    });
    Ok(seeds.collect())
}

fn no_random(error: std::io::Error) -> Refusal {
    Refusal::new(format!("no random numbers: {error}")).code(code::SYSTEM)
}

fn settings(config: &Config) -> Settings {
    Settings {
        node: config.node_id,
        listeners: config
            .listeners
            .iter()
            .map(|listener| listener.name.clone())
            .collect(),
        fetch_max_bytes: config.limits.fetch_bytes_max,
        fetch_sessions_max: config.limits.fetch_sessions_max,
        described_partitions_max: config.limits.described_partitions_max,
        auto_create_topics: config.topics.auto_create,
        producer_expiration_ms: config.producer_expiration_ms as i64,
        groups: Arc::new(config.groups.clone()),
        broker_values: config.settings.values(),
        broker_keys: broker_keys(),
    }
}

/// Every broker key, and its other names.
fn broker_keys() -> Vec<BrokerKey> {
    let own = keys::all().map(|key| (key.name, key));
    let aliases = keys::ALIASES.iter();
    let aliases = aliases.filter_map(|(alias, name)| Some((*alias, keys::find(name)?)));
    let mut all: Vec<_> = own
        .chain(aliases)
        .map(|(name, key)| BrokerKey {
            name,
            kept_as: key.name,
            kind: key.kind,
            default: key.default,
            doc: key.doc,
        })
        .collect();
    all.sort_by_key(|key| key.name);
    all
}

fn store(config: &Config, shard: ShardIndex, descriptors: Descriptors) -> StoreConfig {
    StoreConfig {
        journal_file_bytes: config.journal_file_bytes,
        journal_files_max: config.journal_files_max as usize,
        unflushed_bytes_max: config.shard_memory_bytes / 2,
        clean_bytes_max: config.shard_memory_bytes / 2,
        index_bytes_max: (config.shard_memory_bytes / 64).max(16 << 20),
        open_files_max: descriptors.segments as usize,
        ..StoreConfig::new(config.node_id, shard)
    }
}

fn control(
    config: &Config,
    identity: &Identity,
    recovered: &RecoveredNode,
    quorum: SingleNode,
) -> Result<ControlSeed, Refusal> {
    random::bits().map_err(no_random)?;
    let logs = || {
        recovered
            .shards
            .iter()
            .flat_map(|shard| shard.logs.iter().map(move |log| (shard.shard, log)))
    };
    let suspects = logs().filter(|(_, log)| log.suspect || !log.damage.is_empty());
    Ok(ControlSeed {
        quorum: Box::new(quorum),
        controller: ControllerConfig {
            partitions: config.topics.partitions,
            replication_factor: config.topics.replication_factor,
            deletion: config.topics.deletion,
            offsets_partitions: config.topics.offsets_partitions,
            ..ControllerConfig::default()
        },
        registration: Registration {
            node: config.node_id,
            directories: vec![Directory {
                id: identity.directory.directory,
                start: identity.directory.start_number,
            }],
            endpoints: config
                .listeners
                .iter()
                .map(|listener| Endpoint {
                    listener: listener.name.clone(),
                    host: listener.advertised.host.clone(),
                    port: listener.advertised.port,
                    protocol: PLAINTEXT,
                })
                .collect(),
            rack: config.rack.clone(),
            suspects: suspects
                .map(|(_, log)| (log.topic, log.partition))
                .collect(),
            epoch: None,
            former: Vec::new(),
        },
        cluster_id: identity.node.cluster_id.clone(),
        found: logs()
            .map(|(shard, log)| {
                (
                    log.topic,
                    log.partition,
                    Route {
                        shard,
                        log: log.log,
                    },
                )
            })
            .collect(),
        first_log: recovered.next_log,
        random: Box::new(|| {
            random::bits()
                .expect("the kernel gave random numbers at the start and does not stop to")
        }),
    })
}

/// What a shard's thread is made of.
pub fn thread(
    config: &Config,
    shard: ShardIndex,
    listeners: Vec<(ListenerIndex, OwnedFd)>,
    lock: RawFd,
    mailbox: Mailbox<Mail>,
    descriptors: Descriptors,
) -> ShardSeed {
    let shards = config.shard_cpus.len();
    ShardSeed {
        index: shard,
        cpu: config.shard_cpus.get(usize::from(shard.0)).copied(),
        worker_cpus: Vec::new(),
        listeners,
        sockets: SocketLimits {
            connections_max: (config.limits.connections_max / shards)
                .clamp(1, SocketLimits::default().connections_max)
                .min(descriptors.connections as usize),
            frame_bytes_max: config.limits.request_bytes_max,
        },
        transport_bytes: (config.shard_memory_bytes / 4) as usize,
        lock: Some(lock),
        mailbox,
    }
}

/// What builds core and disk on the shard's thread.
pub fn maker(
    config: &Config,
    seed: CoreSeed,
) -> impl FnOnce() -> (Core, DiskExecutor) + Send + 'static {
    let root = config.data_dir.clone();
    let direct_io = if config.direct_io {
        DirectIo::On
    } else {
        DirectIo::Off
    };
    move || {
        let disk = DiskExecutor::new(&root, direct_io, SlabPool::new(FREE_SLABS_BYTES))
            .unwrap_or_else(|error| panic!("the data directory was there a moment ago: {error}"));
        let core = Core::new(seed, read_clocks());
        if let Err(error) = beside::start("pages", core.memory().huge_maker()) {
            eprintln!("warning: no thread for large pages: {error}; logs use small ones");
        }
        (core, disk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_the_descriptors_that_segments_need() {
        for (files_max, shards) in [(1024, 1), (1024, 4), (20_000, 2), (1 << 20, 16)] {
            let of = Descriptors::of(files_max, shards).expect("it is enough");
            assert!(of.segments >= SEGMENTS_MIN && of.connections >= CONNECTIONS_MIN);
            let each = of.segments + of.connections + FILES_OF_SHARD;
            assert!(FILES_OF_NODE + shards as u64 * each <= files_max, "{of:?}");
        }
        let refused = Descriptors::of(1024, 16).expect_err("too few for so many");
        assert!(refused.problem.contains("16 shards need"), "{refused}");
    }
}
