//! What a group has committed.
//!
//! Always: (1) one offset per topic and partition, the last one committed; (2) an offset is known by the topic's id where one
//! was known, so that a topic of the same name that comes later does not inherit it.

use millstream_net::wire::offsets_topic::{GroupRecord, OffsetCommitKey, OffsetCommitValue};
use millstream_net::wire::{Str, Uuid};
use std::collections::BTreeMap;

/// One committed offset.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Committed {
    pub(super) offset: i64,
    pub(super) leader_epoch: i32,
    pub(super) metadata: Str,
    pub(super) commit_ms: i64,
    /// Where the client said how long to keep it.
    pub(super) expire_ms: Option<i64>,
    pub(super) topic_id: Uuid,
}

impl Committed {
    pub(super) fn of(value: &OffsetCommitValue) -> Committed {
        let expire_ms = Some(value.expire_timestamp);
        Committed {
            offset: value.offset,
            leader_epoch: value.leader_epoch,
            metadata: value.metadata.own(),
            commit_ms: value.commit_timestamp,
            expire_ms: expire_ms.filter(|at| *at >= 0),
            topic_id: value.topic_id,
        }
    }

    fn value(&self) -> OffsetCommitValue {
        OffsetCommitValue {
            offset: self.offset,
            leader_epoch: self.leader_epoch,
            metadata: self.metadata.clone(),
            commit_timestamp: self.commit_ms,
            expire_timestamp: self.expire_ms.unwrap_or(-1),
            topic_id: self.topic_id,
        }
    }
}

/// All offsets of a group.
#[derive(Default, Debug)]
pub(super) struct Offsets {
    topics: BTreeMap<Str, BTreeMap<i32, Committed>>,
}

impl Offsets {
    pub(super) fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    pub(super) fn find(&self, topic: &str, partition: i32) -> Option<&Committed> {
        self.topics.get(topic)?.get(&partition)
    }

    pub(super) fn set(&mut self, topic: &Str, partition: i32, committed: Committed) {
        match self.topics.get_mut(topic) {
            Some(partitions) => {
                partitions.insert(partition, committed);
            }
            None => {
                let partitions = BTreeMap::from([(partition, committed)]);
                self.topics.insert(topic.own(), partitions);
            }
        }
    }

    /// Forgets an offset. Whether there was one.
    pub(super) fn remove(&mut self, topic: &str, partition: i32) -> bool {
        let Some(partitions) = self.topics.get_mut(topic) else {
            return false;
        };
        let was_there = partitions.remove(&partition).is_some();
        if partitions.is_empty() {
            self.topics.remove(topic);
        }
        was_there
    }

    pub(super) fn topics(&self) -> impl Iterator<Item = (&Str, &BTreeMap<i32, Committed>)> {
        self.topics.iter()
    }

    /// Where offsets are that `which` says yes to.
    pub(super) fn places(
        &self,
        mut which: impl FnMut(&Str, &Committed) -> bool,
    ) -> Vec<(Str, i32)> {
        let mut places = Vec::new();
        for (topic, partitions) in &self.topics {
            for (partition, committed) in partitions {
                if which(topic, committed) {
                    places.push((topic.clone(), *partition));
                }
            }
        }
        places
    }

    /// All offsets as records.
    pub(super) fn records<'a>(&'a self, group: &'a Str) -> impl Iterator<Item = GroupRecord> + 'a {
        self.topics.iter().flat_map(move |(topic, partitions)| {
            let partitions = partitions.iter();
            partitions.map(move |(partition, one)| record(group, topic, *partition, Some(one)))
        })
    }
}

/// An offset as a record; without one, that it is gone.
pub(super) fn record(
    group: &Str,
    topic: &Str,
    partition: i32,
    committed: Option<&Committed>,
) -> GroupRecord {
    let key = OffsetCommitKey {
        group: group.clone(),
        topic: topic.clone(),
        partition,
    };
    GroupRecord::OffsetCommit(key, committed.map(Committed::value))
}
