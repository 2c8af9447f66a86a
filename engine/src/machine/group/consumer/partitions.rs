//! Sets of partitions, by topic.

use millstream_net::wire::Uuid;
use millstream_net::wire::api::HeartbeatTopicPartitions;
use millstream_net::wire::offsets_topic::{AssignedPartitions, RecordedPartitions};
use millstream_storage::ids::TopicId;
use std::collections::{BTreeMap, BTreeSet};

/// A set of partitions; no topic in it is without any.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(in super::super) struct Partitions(BTreeMap<TopicId, BTreeSet<i32>>);

/// One partition.
pub(in super::super) type Place = (TopicId, i32);

impl Partitions {
    pub(in super::super) fn insert(&mut self, (topic, partition): Place) {
        self.0.entry(topic).or_default().insert(partition);
    }

    pub(in super::super) fn contains(&self, (topic, partition): Place) -> bool {
        let topic = self.0.get(&topic);
        topic.is_some_and(|partitions| partitions.contains(&partition))
    }

    pub(in super::super) fn iter(&self) -> impl Iterator<Item = Place> + '_ {
        let topics = self.0.iter();
        topics.flat_map(|(topic, partitions)| partitions.iter().map(|one| (*topic, *one)))
    }

    #[cfg(test)]
    pub(in super::super) fn count(&self) -> usize {
        self.0.values().map(BTreeSet::len).sum()
    }

    pub(in super::super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(in super::super) fn topics(&self) -> impl Iterator<Item = (TopicId, Vec<i32>)> + '_ {
        let topics = self.0.iter();
        topics.map(|(topic, partitions)| (*topic, partitions.iter().copied().collect()))
    }

    /// As a heartbeat carries them.
    pub(super) fn of_heartbeat(topics: &[HeartbeatTopicPartitions]) -> Partitions {
        let places = topics.iter().flat_map(|topic| {
            let id = id_of(topic.topic_id);
            topic.partitions.iter().map(move |one| (id, *one))
        });
        places.collect()
    }

    /// As an answer to a heartbeat carries them.
    pub(super) fn told(&self) -> Vec<HeartbeatTopicPartitions> {
        let topics = self.topics();
        topics
            .map(|(topic, partitions)| HeartbeatTopicPartitions {
                topic_id: uuid_of(topic),
                partitions,
            })
            .collect()
    }

    pub(super) fn of_target(topics: &[RecordedPartitions]) -> Partitions {
        let places = topics.iter().flat_map(|topic| {
            let id = id_of(topic.topic_id);
            topic.partitions.iter().map(move |one| (id, *one))
        });
        places.collect()
    }

    pub(super) fn as_target(&self) -> Vec<RecordedPartitions> {
        let topics = self.topics();
        topics
            .map(|(topic, partitions)| RecordedPartitions {
                topic_id: uuid_of(topic),
                partitions,
            })
            .collect()
    }

    pub(super) fn of_current(topics: &[AssignedPartitions]) -> Partitions {
        let places = topics.iter().flat_map(|topic| {
            let id = id_of(topic.topic_id);
            topic.partitions.iter().map(move |one| (id, *one))
        });
        places.collect()
    }
}

impl FromIterator<Place> for Partitions {
    fn from_iter<I: IntoIterator<Item = Place>>(places: I) -> Partitions {
        let mut partitions = Partitions::default();
        places
            .into_iter()
            .for_each(|place| partitions.insert(place));
        partitions
    }
}

/// A topic id as the wire has it.
pub(in super::super) fn uuid_of(topic: TopicId) -> Uuid {
    Uuid(topic.0.to_be_bytes())
}

/// And back.
pub(in super::super) fn id_of(uuid: Uuid) -> TopicId {
    TopicId(u128::from_be_bytes(uuid.0))
}
