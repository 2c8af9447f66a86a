//! Which shard of this node owns a partition: an explicit table, decided once per replica and kept.
//!
//! Always: (1) a replica has one route for its whole life on this node; (2) only shard 0 adds to the table, every shard
//! has a copy; (3) what a restart finds in the journals comes first, so the table is as durable as the logs it names.

use crate::machine::image::{Image, SharedMap};
use crate::machine::topic_config::TopicConfig;
use millstream_storage::ids::{LogNumber, PartitionIndex, ShardIndex, TopicId};
use std::sync::Arc;

/// Where one replica lives on this node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Route {
    /// The shard.
    pub shard: ShardIndex,
    /// This life of the replica.
    pub log: LogNumber,
}

/// What a shard looks up of a topic for every request.
#[derive(Clone, Debug)]
struct TopicRow {
    routes: Arc<Vec<Option<Route>>>,
    config: Arc<TopicConfig>,
}

impl Default for TopicRow {
    fn default() -> TopicRow {
        TopicRow {
            routes: Arc::default(),
            config: Arc::new(TopicConfig::default()),
        }
    }
}

/// The table, with the configuration of the topics in it; a copy shares the rows that did not change.
#[derive(Clone, Default, Debug)]
pub struct Routes {
    topics: SharedMap<TopicId, TopicRow>,
}

impl Routes {
    /// The route of a partition, if this node has a replica of it.
    pub fn find(&self, topic: TopicId, partition: PartitionIndex) -> Option<Route> {
        let index = usize::try_from(partition.0).ok()?;
        self.topics
            .value(&topic)?
            .routes
            .get(index)
            .copied()
            .flatten()
    }

    /// The routes of a topic.
    pub fn of_topic(&self, topic: TopicId) -> impl Iterator<Item = &Route> {
        let row = self.topics.value(&topic);
        row.into_iter().flat_map(|row| row.routes.iter().flatten())
    }

    /// The configuration in force of a topic.
    pub fn config(&self, topic: TopicId) -> Option<&Arc<TopicConfig>> {
        self.topics.value(&topic).map(|row| &row.config)
    }

    /// The topics in the table, in order.
    pub fn topics(&self) -> impl Iterator<Item = TopicId> + '_ {
        self.topics.iter().map(|(topic, _)| *topic)
    }

    fn row_mut(&mut self, topic: TopicId) -> &mut TopicRow {
        if self.topics.value(&topic).is_none() {
            self.topics.insert(topic, TopicRow::default());
        }
        self.topics.value_mut(&topic).expect("it is there now")
    }

    fn set(&mut self, topic: TopicId, partition: PartitionIndex, route: Route) {
        let index = usize::try_from(partition.0).expect("a partition number is not negative");
        let routes = Arc::make_mut(&mut self.row_mut(topic).routes);
        if routes.len() <= index {
            routes.resize(index + 1, None);
        }
        routes[index] = Some(route);
    }
}

/// Decides where new replicas go; lives on shard 0.
#[derive(Debug)]
pub struct Placer {
    routes: Routes,
    /// Replicas per shard.
    load: Vec<usize>,
    next_log: LogNumber,
}

impl Placer {
    /// Starts from what the journals hold. `first_log` is above every log number this node ever gave.
    pub fn new(
        shard_count: u16,
        first_log: LogNumber,
        found: impl IntoIterator<Item = (TopicId, PartitionIndex, Route)>,
    ) -> Placer {
        let mut placer = Placer {
            routes: Routes::default(),
            load: vec![0; usize::from(shard_count)],
            next_log: first_log,
        };
        for (topic, partition, route) in found {
            placer.load[usize::from(route.shard.0)] += 1;
            placer.routes.set(topic, partition, route);
        }
        placer
    }

    /// The table as it is.
    pub fn routes(&self) -> &Routes {
        &self.routes
    }

    /// Keeps the configuration in force of a topic.
    pub fn configure(&mut self, topic: TopicId, config: TopicConfig) {
        self.routes.row_mut(topic).config = Arc::new(config);
    }

    /// Gives each replica of a topic a shard, unless it has one: the shard with the fewest of that topic, then the least
    /// loaded.
    pub fn place(&mut self, topic: TopicId, partitions: impl IntoIterator<Item = PartitionIndex>) {
        let mut of_topic = vec![0usize; self.load.len()];
        // Looked up once: a topic may have ten thousand partitions.
        let routes = Arc::make_mut(&mut self.routes.row_mut(topic).routes);
        for route in routes.iter().flatten() {
            of_topic[usize::from(route.shard.0)] += 1;
        }
        for partition in partitions {
            let index = usize::try_from(partition.0).expect("a partition number is not negative");
            if routes.len() <= index {
                routes.resize(index + 1, None);
            }
            if routes[index].is_some() {
                continue;
            }
            let shard = (0..self.load.len())
                .min_by_key(|&shard| (of_topic[shard], self.load[shard], shard))
                .expect("a node has at least one shard");
            routes[index] = Some(Route {
                shard: ShardIndex(shard as u16),
                log: self.next_log,
            });
            self.next_log = LogNumber(self.next_log.0 + 1);
            of_topic[shard] += 1;
            self.load[shard] += 1;
        }
    }

    /// Forgets the replicas of topics that an image does not have.
    pub fn forget_absent(&mut self, image: &Image) {
        let absent = self
            .routes
            .topics()
            .filter(|topic| image.topic(*topic).is_none());
        for topic in absent.collect::<Vec<_>>() {
            self.forget(topic);
        }
    }

    /// Forgets the replicas of a topic that is gone.
    pub fn forget(&mut self, topic: TopicId) {
        for route in self.routes.of_topic(topic) {
            self.load[usize::from(route.shard.0)] -= 1;
        }
        self.routes.topics.remove(&topic);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard_of(placer: &Placer, topic: u128, partition: i32) -> Option<u16> {
        let route = placer
            .routes()
            .find(TopicId(topic), PartitionIndex(partition));
        route.map(|route| route.shard.0)
    }

    #[test]
    fn replicas_spread_by_topic_then_by_load() {
        let mut placer = Placer::new(2, LogNumber(10), []);
        placer.place(TopicId(1), (0..3).map(PartitionIndex));
        let shards: Vec<_> = (0..3).map(|p| shard_of(&placer, 1, p)).collect();
        assert_eq!(shards, [Some(0), Some(1), Some(0)]);
        placer.place(TopicId(2), [PartitionIndex(0)]);
        assert_eq!(shard_of(&placer, 2, 0), Some(1));
        let first = placer.routes().find(TopicId(1), PartitionIndex(0));
        assert_eq!(first.map(|route| route.log), Some(LogNumber(10)));
        placer.forget(TopicId(1));
        assert_eq!(shard_of(&placer, 1, 0), None);
        placer.place(TopicId(2), (0..2).map(PartitionIndex));
        assert_eq!(shard_of(&placer, 2, 1), Some(0));
    }

    #[test]
    fn what_the_journals_hold_keeps_its_place() {
        let route = Route {
            shard: ShardIndex(1),
            log: LogNumber(3),
        };
        let found = [(TopicId(1), PartitionIndex(0), route)];
        let mut placer = Placer::new(2, LogNumber(4), found);
        placer.place(TopicId(1), (0..2).map(PartitionIndex));
        let routes = placer.routes();
        assert_eq!(routes.find(TopicId(1), PartitionIndex(0)), Some(route));
        let next = Route {
            shard: ShardIndex(0),
            log: LogNumber(4),
        };
        assert_eq!(routes.find(TopicId(1), PartitionIndex(1)), Some(next));
    }
}
