//! The replicas a shard owns: each a partition machine beside its log in the store, and who waits for news of it.
//!
//! Always: (1) a host and its log in the store begin and end together; (2) what the machine has effected is carried out
//! before the next event reaches it.

use super::errands::Trim;
use super::slots::SlotId;
use super::subscribers::Subscriber;
use super::timers::TimerId;
use crate::machine::partition::{Effect, Partition};
use crate::shard::mail::Telling;
use millstream_storage::ids::{LogNumber, NumberMap, Offset, Tick, TopicId};
use millstream_storage::prefetch;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// One replica.
pub(super) struct Host {
    pub(super) topic: TopicId,
    pub(super) log: LogNumber,
    pub(super) machine: Partition,
    /// Reads that want to hear of it.
    pub(super) watches: BTreeSet<SlotId>,
    /// Sessions of readers that want to hear of it.
    pub(super) subscribers: BTreeMap<Subscriber, Telling>,
    /// Ends and sizes of batches above the high watermark: what a reader gains when it moves.
    unseen: VecDeque<(Offset, usize)>,
    /// Deletions that wait for the log start to move.
    pub(super) trims: BTreeSet<Trim>,
    /// When the machine wants its next tick.
    pub(super) timer: Option<(Tick, TimerId)>,
}

impl Host {
    pub(super) fn new(topic: TopicId, log: LogNumber, machine: Partition) -> Host {
        Host {
            topic,
            log,
            machine,
            watches: BTreeSet::new(),
            subscribers: BTreeMap::new(),
            unseen: VecDeque::new(),
            trims: BTreeSet::new(),
            timer: None,
        }
    }

    /// Whether somebody waits for news of it.
    pub(super) fn is_watched(&self) -> bool {
        !self.watches.is_empty() || !self.subscribers.is_empty()
    }

    /// A batch went into the log.
    pub(super) fn appended(&mut self, end: Offset, bytes: usize) {
        self.unseen.push_back((end, bytes));
    }

    /// The high watermark moved: the bytes that readers gain.
    pub(super) fn seen(&mut self, high_watermark: Offset) -> usize {
        let mut bytes = 0;
        while let Some((_, size)) = self.unseen.pop_front_if(|(end, _)| *end <= high_watermark) {
            bytes += size;
        }
        bytes
    }
}

/// All replicas of a shard.
#[derive(Default)]
pub(super) struct Hosts {
    /// Boxed, so that a table that grows moves little.
    by_log: NumberMap<LogNumber, Box<Host>>,
    /// Reused between events.
    pub(super) effects: Vec<Effect>,
}

impl Hosts {
    pub(super) fn insert(&mut self, host: Host) {
        let former = self.by_log.insert(host.log, Box::new(host));
        assert!(former.is_none(), "a log number is used once");
    }

    pub(super) fn remove(&mut self, log: LogNumber) -> Option<Host> {
        self.by_log.remove(&log).map(|host| *host)
    }

    pub(super) fn find(&self, log: LogNumber) -> Option<&Host> {
        self.by_log.get(&log).map(|host| &**host)
    }

    pub(super) fn find_mut(&mut self, log: LogNumber) -> Option<&mut Host> {
        self.by_log.get_mut(&log).map(|host| &mut **host)
    }

    /// Brings near the processor what machines of these logs are asked for next.
    pub(super) fn warm(&self, logs: impl Iterator<Item = LogNumber> + Clone) {
        let hosts = || logs.clone().filter_map(|log| self.find(log));
        hosts().for_each(prefetch::value);
        for host in hosts() {
            host.machine.warm();
            host.unseen.front().map(prefetch::value);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Host> {
        self.by_log.values().map(|host| &**host)
    }

    /// The logs, in order.
    pub(super) fn logs(&self) -> Vec<LogNumber> {
        let mut logs: Vec<LogNumber> = self.by_log.keys().copied().collect();
        logs.sort_unstable();
        logs
    }
}
