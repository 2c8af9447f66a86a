//! The metadata a shard acts by: images from shard 0 become logs, roles and configurations.
//!
//! Always: (1) no replica leads before the image holds the registration of this process; until then requests wait; (2) a log
//! is dropped only by an image that is not older than the one it was opened at and in which its topic is absent; (3) what
//! waited for an image is opened after every replica has its role of it, or, where the image changes more than `PIECE_PARTITIONS`, some
//! have: the others answer [6] until their turn; (4) the controller is told of an image when every replica has its role of it, and
//! the logs of topics that are gone are dropped.

use super::Core;
use super::hosts::Host;
use super::routes::Route;
use crate::api::topics;
use crate::machine::image::{PartitionRecord, Topic};
use crate::machine::partition::{Following, Leadership, LogState, Partition, Role};
use crate::shard::mail::{Mail, Published, Urgency};
use millstream_net::conn::RequestSlot;
use millstream_net::wire::{ErrorCode, Request as WireRequest, RequestHeader};
use millstream_storage::ids::{
    LogNumber, MetadataIndex, Now, Offset, PartitionIndex, Tick, TopicId,
};
use millstream_storage::store::{OpenLog, OpenRefused};
use std::collections::{BTreeMap, VecDeque};

/// Partitions that get their logs and roles in one turn; some 200 us where all of their memory is touched for the first time.
const PIECE_PARTITIONS: usize = 16;

/// A request that arrived before the first image.
pub(super) struct Held {
    pub(super) slot: RequestSlot,
    pub(super) header: RequestHeader,
    pub(super) body: WireRequest,
}

/// What a shard knows of the way to its present image.
#[derive(Default)]
pub(super) struct Awaiting {
    /// Requests that arrived before the first image. BOUND: by the bounds of their connections.
    pub(super) held: VecDeque<Held>,
    /// Logs of topics that are gone, which are still to be dropped. BOUND: by the logs of the shard.
    pub(super) dropping: VecDeque<LogNumber>,
    /// Topics whose partitions have not all got what the image says of them, and the first that has not. BOUND: by the topics
    /// of the images that came in the meantime.
    pub(super) applying: VecDeque<(TopicId, usize)>,
    /// Logs the store had no room to open.
    pub(super) unopened: BTreeMap<LogNumber, (TopicId, PartitionIndex)>,
    /// The image each recovered log was opened at.
    pub(super) opened_at: BTreeMap<LogNumber, MetadataIndex>,
}

impl Awaiting {
    /// When the next piece of a change is due.
    pub(super) fn deadline(&self) -> Option<Tick> {
        let is_behind = !self.applying.is_empty() || !self.dropping.is_empty();
        is_behind.then_some(Tick(0))
    }
}

impl Core {
    /// A newer image came.
    pub(super) fn published(&mut self, now: Now, published: Published) {
        let first = !self.is_ready();
        let former = std::mem::replace(&mut self.meta, published);
        let delta = self.meta.delta.clone();
        let (gone, changed): (Vec<LogNumber>, Vec<TopicId>) = match first {
            true => {
                let all = self.meta.image.topics().map(|topic| topic.id).collect();
                (self.absent_logs(), all)
            }
            false => {
                let here = |route: &&Route| route.shard == self.me;
                let removed = delta.removed.iter();
                let gone = removed.flat_map(|topic| former.routes.of_topic(*topic));
                let gone = gone.filter(here).map(|route| route.log).collect();
                (gone, delta.topics.iter().copied().collect())
            }
        };
        self.awaiting.dropping.extend(gone);
        let changed = changed.into_iter().map(|topic| (topic, 0));
        self.awaiting.applying.extend(changed);
        let most = if first { usize::MAX } else { PIECE_PARTITIONS };
        self.apply_some(now, most);
        self.open_early(now);
        for held in std::mem::take(&mut self.awaiting.held) {
            self.request(now, held.slot, held.header, held.body);
        }
    }

    /// Whether an image with the registration of this process has come.
    pub(super) fn is_ready(&self) -> bool {
        self.meta.image.index() > MetadataIndex(0)
    }

    /// Recovered logs whose topic is absent in an image that is not older than they are.
    fn absent_logs(&self) -> Vec<LogNumber> {
        let image = &self.meta.image;
        let absent = self.hosts.iter().filter(|host| {
            let opened_at = self.awaiting.opened_at.get(&host.log);
            let known = opened_at.is_some_and(|index| *index <= image.index());
            known && image.topic(host.topic).is_none()
        });
        let mut absent: Vec<LogNumber> = absent.map(|host| host.log).collect();
        absent.sort_unstable();
        absent
    }

    fn drop_host(&mut self, now: Now, log: LogNumber) {
        self.awaiting.unopened.remove(&log);
        self.note_watches(log, 0, Urgency::Now);
        self.refuse_trims(now, log, ErrorCode::UnknownTopicOrPartition);
        self.with_host(now, log, |machine, effects| {
            machine.role(Role::Offline, effects)
        });
        let Some(host) = self.hosts.remove(log) else {
            return;
        };
        if let Some((_, timer)) = host.timer {
            self.timers.clear(timer);
        }
        self.store.drop_log(now, log);
    }

    /// The next partitions of a change that takes several turns.
    pub(super) fn turn_meta(&mut self, now: Now) {
        if self.awaiting.deadline().is_some() {
            self.apply_some(now, PIECE_PARTITIONS);
        }
    }

    /// Drops so many logs at the most, and opens so many partitions, or gives them their roles; when there are no more, the
    /// controller is told.
    fn apply_some(&mut self, now: Now, most: usize) {
        let mut left = most;
        while let Some(log) = self.awaiting.dropping.pop_front() {
            self.drop_host(now, log);
            left -= 1;
            if left == 0 && self.awaiting.deadline().is_some() {
                return;
            }
        }
        while let Some((id, first)) = self.awaiting.applying.pop_front() {
            let Some(topic) = self.meta.image.topic(id).cloned() else {
                continue;
            };
            let end = topic.partitions.len().min(first.saturating_add(left));
            for partition in topic.partitions.get(first..end).unwrap_or_default() {
                self.apply_one(now, &topic, partition);
            }
            if end < topic.partitions.len() {
                self.awaiting.applying.push_front((id, end));
                return;
            }
            left -= end.saturating_sub(first);
        }
        self.tell_coordinators(now);
        let index = self.meta.image.index();
        self.send(now, super::topics::CONTROLLER, Mail::Applied(index));
    }

    fn apply_one(&mut self, now: Now, topic: &Topic, partition: &PartitionRecord) {
        let Some(route) = self.meta.routes.find(topic.id, partition.index) else {
            return;
        };
        if route.shard == self.me && self.open_host(now, topic, partition.index, route.log) {
            self.apply_partition(now, partition, route.log);
        }
    }

    /// Whether the log is there, new or old.
    fn open_host(
        &mut self,
        now: Now,
        topic: &Topic,
        partition: PartitionIndex,
        log: LogNumber,
    ) -> bool {
        let Some(config) = self.meta.routes.config(topic.id) else {
            return false;
        };
        let log_config = topics::log_config(config);
        let partition_config = topics::partition_config(config, &self.settings);
        if let Some(host) = self.hosts.find_mut(log) {
            host.machine.configure(partition_config);
            self.store.configure(log, log_config);
            return true;
        }
        let opened = self.store.open_log(
            now,
            OpenLog {
                log,
                topic: topic.id,
                partition,
                metadata_index: self.meta.image.index(),
                start: Offset(0),
                replaces: None,
                config: log_config,
            },
        );
        match opened {
            Ok(()) => {
                let state = LogState::empty(Offset(0));
                let machine = Partition::new(self.settings.node, partition_config, state);
                self.hosts.insert(Host::new(topic.id, log, machine));
                true
            }
            Err(OpenRefused::NoSpace) => {
                self.awaiting.unopened.insert(log, (topic.id, partition));
                false
            }
            Err(OpenRefused::Exists) => panic!("a log number is used once"),
        }
    }

    /// Opens logs that found no room before.
    pub(super) fn open_again(&mut self, now: Now) {
        for (log, (topic, partition)) in std::mem::take(&mut self.awaiting.unopened) {
            let Some(topic) = self.meta.image.topic(topic).cloned() else {
                continue;
            };
            if self.open_host(now, &topic, partition, log)
                && let Some(record) = self.meta.image.partition(topic.id, partition).cloned()
            {
                self.apply_partition(now, &record, log);
            }
        }
    }

    fn apply_partition(&mut self, now: Now, partition: &PartitionRecord, log: LogNumber) {
        let role = self.role_of(partition);
        self.with_host(now, log, |machine, effects| machine.role(role, effects));
    }

    fn role_of(&self, partition: &PartitionRecord) -> Role {
        let node = self.settings.node;
        if partition.leader == Some(node) {
            return Role::Leader(Leadership {
                leader_epoch: partition.leader_epoch,
                partition_epoch: partition.partition_epoch,
                isr: partition.isr.iter().copied().collect(),
                joining: Default::default(),
                min_isr: self.meta.image.min_isr(partition),
                recovering: partition.recovering,
            });
        }
        match partition
            .replicas
            .iter()
            .any(|replica| replica.node == node)
        {
            true => Role::Follower(Following {
                leader_epoch: partition.leader_epoch,
                partition_epoch: partition.partition_epoch,
                leader: partition.leader,
                recovering: partition.recovering,
            }),
            false => Role::Offline,
        }
    }
}
