//! Registration: the one rule that is computed when a record is applied.
//!
//! A broker that starts anew is a new incarnation. Its former life is fenced first: leaderships another in-sync member can
//! take move. Then what still leads here gets a higher leader epoch, so that no log leads twice under one epoch. Replicas whose
//! directory is gone or an old copy, and logs the broker does not vouch for, leave ISR and ELR; where nobody would be left,
//! they are kept as last known.

use super::record::{PartitionRecord, Registration, Replica};
use super::{Broker, Delta, Image};
use millstream_storage::ids::{
    BrokerEpoch, DirectoryId, LeaderEpoch, NodeId, PartitionIndex, TopicId,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What has become of a replica.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Kept,
    Lost,
}

/// What judges the replicas of a node that registers.
struct Judge<'a> {
    registration: &'a Registration,
    /// Directories that are there and newer than they were.
    kept: BTreeSet<DirectoryId>,
    suspects: BTreeSet<(TopicId, PartitionIndex)>,
}

impl Judge<'_> {
    fn fate(&self, partition: &PartitionRecord, replica: &Replica) -> Fate {
        let suspect = self.suspects.contains(&(partition.topic, partition.index));
        if suspect || !self.kept.contains(&replica.directory) {
            Fate::Lost
        } else {
            Fate::Kept
        }
    }
}

impl Image {
    pub(super) fn register(&mut self, registration: &Registration, delta: &mut Delta) {
        delta.brokers = true;
        let former = self.brokers.get(&registration.node);
        let mut starts = former.map_or_else(BTreeMap::new, |broker| broker.starts.clone());
        let is_newer = |directory: &&super::Directory| {
            starts
                .get(&directory.id)
                .is_none_or(|start| directory.start > *start)
        };
        let kept = registration
            .directories
            .iter()
            .filter(is_newer)
            .map(|directory| directory.id)
            .collect();
        for directory in registration.former.iter().chain(&registration.directories) {
            let start = starts.entry(directory.id).or_insert(directory.start);
            *start = (*start).max(directory.start);
        }
        let epoch = registration
            .epoch
            .unwrap_or(BrokerEpoch(self.index.0 as i64));
        let broker = Broker {
            node: registration.node,
            epoch,
            endpoints: registration.endpoints.clone(),
            rack: registration.rack.clone(),
            directories: registration.directories.clone(),
            starts,
            fenced: false,
            stopping: false,
        };
        Arc::make_mut(&mut self.brokers).insert(registration.node, broker);
        if registration.epoch.is_none() {
            let judge = Judge {
                registration,
                kept,
                suspects: registration.suspects.iter().copied().collect(),
            };
            self.settle_replicas(&judge, delta);
        }
    }

    fn settle_replicas(&mut self, judge: &Judge<'_>, delta: &mut Delta) {
        let changed: Vec<PartitionRecord> = self
            .topics()
            .flat_map(|topic| topic.partitions.iter())
            .filter_map(|partition| self.settled(partition, judge))
            .collect();
        for partition in changed {
            delta.topics.insert(partition.topic);
            let topic = self.topics.value_mut(&partition.topic);
            let topic = Arc::make_mut(topic.expect("it was listed"));
            let at = partition.index.0 as usize;
            topic.partitions[at] = Arc::new(partition);
        }
    }

    /// The partition after the registration; `None` if it stays as it is.
    fn settled(&self, partition: &PartitionRecord, judge: &Judge<'_>) -> Option<PartitionRecord> {
        let node = judge.registration.node;
        let replica = partition.replicas.iter().find(|one| one.node == node)?;
        let mut new = partition.clone();
        let is_live = |other: &NodeId| {
            *other != node && self.brokers.get(other).is_some_and(|broker| !broker.fenced)
        };
        match judge.fate(partition, replica) {
            Fate::Lost => lose(&mut new, node, is_live),
            Fate::Kept => fence_or_raise(&mut new, node, self.min_isr(partition), is_live),
        }
        if new == *partition {
            return None;
        }
        new.partition_epoch += 1;
        Some(new)
    }
}

/// The replica's log is gone or not to be trusted.
fn lose(partition: &mut PartitionRecord, node: NodeId, is_live: impl Fn(&NodeId) -> bool) {
    let counted = partition.isr.contains(&node) || partition.elr.contains(&node);
    partition.isr.retain(|other| *other != node);
    partition.elr.retain(|other| *other != node);
    if counted && partition.isr.is_empty() && partition.elr.is_empty() {
        partition.last_known.push(node);
    }
    if partition.leader == Some(node) {
        lead(partition, is_live);
    }
}

/// The replica is as its node left it.
fn fence_or_raise(
    partition: &mut PartitionRecord,
    node: NodeId,
    min_isr: usize,
    is_live: impl Fn(&NodeId) -> bool,
) {
    let in_sync = partition.isr.contains(&node);
    if in_sync && partition.isr.iter().any(&is_live) {
        partition.isr.retain(|other| *other != node);
        if partition.isr.len() < min_isr {
            partition.elr.push(node);
        }
        if partition.leader == Some(node) {
            lead(partition, is_live);
        }
        return;
    }
    let nobody = partition.isr.is_empty();
    let last = nobody && partition.elr.is_empty() && partition.last_known.contains(&node);
    if in_sync || last || (nobody && partition.elr.contains(&node)) {
        if nobody {
            partition.isr.push(node);
        }
        partition.elr.retain(|other| *other != node);
        partition.last_known.clear();
        partition.leader = Some(node);
        partition.leader_epoch = LeaderEpoch(partition.leader_epoch.0 + 1);
    }
}

/// The first live in-sync replica in order of preference leads, or nobody.
fn lead(partition: &mut PartitionRecord, is_live: impl Fn(&NodeId) -> bool) {
    let in_order = partition.replicas.iter().map(|replica| replica.node);
    partition.leader = in_order
        .filter(|node| partition.isr.contains(node))
        .find(|node| is_live(node));
    partition.leader_epoch = LeaderEpoch(partition.leader_epoch.0 + 1);
}
