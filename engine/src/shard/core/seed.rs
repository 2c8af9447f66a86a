//! How a core comes to life: from what recovery found.

use super::control::{Control, ControlSeed};
use super::coordinators::Coordinators;
use super::hosts::{Host, Hosts};
use super::outbox::Outbox;
use super::stop::Stopping;
use super::{Core, Due};
use crate::api::batches;
use crate::api::settings::Settings;
use crate::machine::fetch_sessions::{Limits, Sessions};
use crate::machine::partition::{LogState, Partition, PartitionConfig};
use crate::shard::mail::Published;
use millstream_net::conn::{ConnLimits, Connections};
use millstream_storage::ids::{Now, Offset, ShardIndex};
use millstream_storage::store::{Recovered, RecoveredLog, Store, StoreConfig};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// How often producers are looked through for those nobody uses any more.
pub(super) const EXPIRE_PRODUCERS_MS: u64 = 600_000;

/// BOUND: partitions in all fetch sessions of a shard; each costs about 500 bytes, here and at its owner.
const SESSION_PARTITIONS_MAX: usize = 100_000;

/// Everything a core begins with.
pub struct CoreSeed {
    /// The shard.
    pub shard: ShardIndex,
    /// How many shards the node has.
    pub shard_count: u16,
    /// The node's settings.
    pub settings: Arc<Settings>,
    /// Bounds of each connection.
    pub conn_limits: ConnLimits,
    /// Limits of the log.
    pub store: StoreConfig,
    /// The log as recovery found it.
    pub recovered: Recovered,
    /// Decides the ids that group members and fetch sessions are given.
    pub random: u64,
    /// The controller's part; for shard 0 and nobody else.
    pub control: Option<ControlSeed>,
}

impl Core {
    /// A core that has done nothing yet. Its first `turn` begins.
    pub fn new(seed: CoreSeed, now: Now) -> Core {
        assert_eq!(seed.control.is_some(), seed.shard == ShardIndex(0));
        let mut hosts = Hosts::default();
        let mut opened_at = BTreeMap::new();
        for log in &seed.recovered.logs {
            let machine = recovered_machine(&seed.settings, log, now);
            hosts.insert(Host::new(log.topic, log.log, machine));
            opened_at.insert(log.log, log.metadata_index);
        }
        let control = seed.control;
        let control = control.map(|one| Control::new(one, &seed.settings, seed.shard_count));
        let control = control.map(Box::new);
        let limits = Limits {
            sessions_max: seed
                .settings
                .fetch_sessions_max
                .div_ceil(usize::from(seed.shard_count)),
            partitions_max: SESSION_PARTITIONS_MAX,
        };
        // Not by the clock: it may be set back before a restart, and a reader must not meet a stranger's session.
        let sessions = Sessions::new(limits, !seed.random);
        let mut core = Core {
            me: seed.shard,
            shard_count: seed.shard_count,
            settings: seed.settings,
            meta: Published::default(),
            awaiting: super::meta::Awaiting {
                opened_at,
                ..Default::default()
            },
            conns: Connections::new(seed.conn_limits),
            conn_effects: Vec::new(),
            listeners: BTreeMap::new(),
            peers: BTreeMap::new(),
            requests: Default::default(),
            later: BTreeMap::new(),
            arrived: Vec::new(),
            origins: Default::default(),
            stalled: Default::default(),
            hosts,
            listings: Default::default(),
            coordinators: Coordinators::new(seed.random),
            store: Store::new(seed.store, seed.recovered, now),
            store_effects: Vec::new(),
            readings: Default::default(),
            sessions,
            polls: BTreeMap::new(),
            subscribers: Default::default(),
            findings: Default::default(),
            timers: Default::default(),
            outbox: Outbox::new(seed.shard_count),
            // Of the shards and the workshop.
            early: (0..=seed.shard_count).map(|_| VecDeque::new()).collect(),
            lanes: Default::default(),
            producer_ids: Default::default(),
            control,
            stopping: Stopping::new(seed.shard_count),
            out: Vec::new(),
        };
        let at = now.tick.after_ms(EXPIRE_PRODUCERS_MS);
        core.timers.set(at, Due::ExpireProducers);
        core
    }
}

/// The machine of a log as recovery found it. It is offline until an image gives it a role.
fn recovered_machine(settings: &Settings, log: &RecoveredLog, now: Now) -> Partition {
    let config = PartitionConfig {
        producer_expiration_ms: settings.producer_expiration_ms,
        ..PartitionConfig::default()
    };
    let end = log.end.offset;
    let state = || LogState {
        log_start: log.log_start,
        log_end: end,
        durable: end,
        high_watermark: log.high_watermark.max(log.log_start).min(end),
    };
    let heads = || {
        log.heads
            .iter()
            .map(|placed| batches::head_of(&placed.head))
    };
    let snapshot = log.producers.as_ref();
    let snapshot = snapshot.map(|(place, bytes): &(Offset, _)| (*place, bytes as &[u8]));
    let node = settings.node;
    Partition::recovered(node, config, state(), snapshot, heads(), now.wall)
        // A snapshot that does not decode counts for nothing: what the heads say is kept.
        .or_else(|_| Partition::recovered(node, config, state(), None, heads(), now.wall))
        .unwrap_or_else(|_| Partition::new(node, config, state()))
}
