//! The metadata image: what the metadata log says as of one entry.
//!
//! Always: (1) it is what the entries up to `index` give, in order, and nothing else; (2) an entry is applied whole; (3) a copy
//! is cheap and never changes; (4) topic ids are never reused, leader and partition epochs never fall.
//! Leaves to others: deciding (the controller), durability (the quorum), what a role means (the partition).

mod decode;
mod encode;
mod map;
mod record;
mod register;
mod snapshot;
#[cfg(test)]
mod tests;

pub use decode::Malformed;
pub use map::SharedMap;
pub use record::{
    ConfigResource, Directory, Endpoint, Entry, Member, PartitionRecord, Payload, Record,
    Registration, Replica, Snapshot,
};

use millstream_storage::ids::{
    BrokerEpoch, DirectoryId, LeaderEpoch, MetadataIndex, NodeId, PartitionIndex, TopicId,
};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Configured values by key.
pub type Configs = BTreeMap<String, String>;

/// A broker as it last registered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broker {
    /// Its node.
    pub node: NodeId,
    /// Its incarnation.
    pub epoch: BrokerEpoch,
    /// Its listeners.
    pub endpoints: Vec<Endpoint>,
    /// Its rack.
    pub rack: Option<String>,
    /// Its directories now.
    pub directories: Vec<Directory>,
    /// The newest start number of every directory it ever had.
    pub starts: BTreeMap<DirectoryId, u64>,
    /// Its session has ended.
    pub fenced: bool,
    /// It is about to stop.
    pub stopping: bool,
}

/// A topic with its partitions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Topic {
    /// Its id.
    pub id: TopicId,
    /// Its name.
    pub name: Arc<str>,
    /// Its partitions, by number from 0 on.
    pub partitions: Vec<Arc<PartitionRecord>>,
    /// Its configured values.
    pub configs: Arc<Configs>,
}

impl Topic {
    /// Whether the broker itself lives on this topic.
    pub fn is_internal(&self) -> bool {
        is_internal(&self.name)
    }
}

/// Whether a name is that of a topic the broker itself lives on.
pub fn is_internal(name: &str) -> bool {
    matches!(name, "__consumer_offsets" | "__transaction_state")
}

/// What an entry has changed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Delta {
    /// Topics that are new or have other partitions or values.
    pub topics: BTreeSet<TopicId>,
    /// Topics that are gone.
    pub removed: BTreeSet<TopicId>,
    /// Whether brokers have changed.
    pub brokers: bool,
    /// Whether values of brokers have changed; defaults of topics may be among them.
    pub broker_configs: bool,
}

/// An entry that does not fit the image: the log it comes from is not this cluster's, or a bug wrote it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inconsistent(pub String);

impl std::fmt::Display for Inconsistent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Inconsistent {}

/// The image.
#[derive(Clone, Debug, Default)]
pub struct Image {
    term: u64,
    index: MetadataIndex,
    members: Arc<[Member]>,
    members_index: MetadataIndex,
    cluster_id: Option<Arc<str>>,
    brokers: Arc<BTreeMap<NodeId, Broker>>,
    broker_configs: Arc<BTreeMap<NodeId, Configs>>,
    default_configs: Arc<Configs>,
    group_configs: SharedMap<Arc<str>, Arc<Configs>>,
    topics: SharedMap<TopicId, Arc<Topic>>,
    names: SharedMap<Arc<str>, TopicId>,
    /// Names with `.` as `_`, where they differ from the name: metrics cannot tell such topics apart (rule M3).
    blurred: SharedMap<Arc<str>, TopicId>,
    partition_count: usize,
    next_producer_id: i64,
}

impl Image {
    /// Applies the next entry.
    pub fn apply(&mut self, entry: &Entry) -> Result<Delta, Inconsistent> {
        if entry.index.0 != self.index.0 + 1 || entry.term < self.term {
            return Err(Inconsistent(format!(
                "entry {} of term {} behind entry {} of term {}",
                entry.index, entry.term, self.index, self.term
            )));
        }
        self.index = entry.index;
        self.term = entry.term;
        let mut delta = Delta::default();
        match &entry.payload {
            Payload::Records(records) => {
                self.apply_records(records, &mut delta)?;
            }
            Payload::Membership(members) => {
                self.members = members.as_slice().into();
                self.members_index = entry.index;
            }
            Payload::Blank => {}
        }
        Ok(delta)
    }

    /// Partitions of one topic that stand together are looked up together: a topic may have ten thousand of them.
    fn apply_records(&mut self, records: &[Record], delta: &mut Delta) -> Result<(), Inconsistent> {
        let together = |one: &Record, next: &Record| match (one, next) {
            (Record::Partition(one), Record::Partition(next)) => one.topic == next.topic,
            _ => false,
        };
        for records in records.chunk_by(together) {
            match records {
                [Record::Partition(first), ..] => {
                    self.set_partitions(first.topic, records, delta)?;
                }
                other => {
                    for record in other {
                        self.apply_record(record, delta)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn apply_record(&mut self, record: &Record, delta: &mut Delta) -> Result<(), Inconsistent> {
        match record {
            Record::Cluster { id } => self.cluster_id = Some(id.as_str().into()),
            Record::Registration(registration) => self.register(registration, delta),
            Record::BrokerState {
                node,
                epoch,
                fenced,
                stopping,
            } => {
                let brokers = Arc::make_mut(&mut self.brokers);
                if let Some(broker) = brokers.get_mut(node)
                    && broker.epoch == *epoch
                {
                    broker.fenced = *fenced;
                    broker.stopping = *stopping;
                    delta.brokers = true;
                }
            }
            Record::Topic { id, name } => self.add_topic(*id, name, delta)?,
            Record::Partition(partition) => {
                self.set_partitions(partition.topic, std::slice::from_ref(record), delta)?;
            }
            Record::RemovedTopic { id } => self.remove_topic(*id, delta)?,
            Record::Config {
                resource,
                key,
                value,
            } => self.set_config(resource, key, value.as_deref(), delta)?,
            Record::ProducerIds { next } => {
                if *next < self.next_producer_id {
                    return Err(Inconsistent("producer ids go back".into()));
                }
                self.next_producer_id = *next;
            }
        }
        Ok(())
    }

    fn add_topic(
        &mut self,
        id: TopicId,
        name: &str,
        delta: &mut Delta,
    ) -> Result<(), Inconsistent> {
        if self.topics.value(&id).is_some() || self.names.value(name).is_some() {
            return Err(Inconsistent(format!("topic {name} ({id}) exists")));
        }
        let name: Arc<str> = name.into();
        self.names.insert(name.clone(), id);
        if let Cow::Owned(blurred) = blur(&name) {
            self.blurred.insert(blurred.into(), id);
        }
        let topic = Topic {
            id,
            name,
            partitions: Vec::new(),
            configs: Arc::default(),
        };
        self.topics.insert(id, Arc::new(topic));
        delta.topics.insert(id);
        Ok(())
    }

    /// Sets what records say of partitions of one topic.
    fn set_partitions(
        &mut self,
        id: TopicId,
        records: &[Record],
        delta: &mut Delta,
    ) -> Result<(), Inconsistent> {
        let topic = self
            .topics
            .value_mut(&id)
            .ok_or_else(|| Inconsistent(format!("a partition of the unknown topic {id}")))?;
        let partitions = &mut Arc::make_mut(topic).partitions;
        for record in records {
            let Record::Partition(new) = record else {
                continue;
            };
            let at = usize::try_from(new.index.0).unwrap_or(usize::MAX);
            let next = partitions.len();
            match partitions.get_mut(at) {
                Some(old) if old.leader_epoch > new.leader_epoch => {
                    return Err(Inconsistent("a leader epoch goes back".into()));
                }
                Some(old) => *old = new.clone(),
                None if at == next => {
                    partitions.push(new.clone());
                    self.partition_count += 1;
                }
                None => return Err(Inconsistent("a partition is missing before one".into())),
            }
        }
        delta.topics.insert(id);
        Ok(())
    }

    fn remove_topic(&mut self, id: TopicId, delta: &mut Delta) -> Result<(), Inconsistent> {
        let topic = self
            .topics
            .remove(&id)
            .ok_or_else(|| Inconsistent(format!("the unknown topic {id} is removed")))?;
        self.names.remove(&topic.name);
        if let Cow::Owned(blurred) = blur(&topic.name) {
            self.blurred.remove(blurred.as_str());
        }
        self.partition_count -= topic.partitions.len();
        delta.topics.remove(&id);
        delta.removed.insert(id);
        Ok(())
    }

    fn set_config(
        &mut self,
        resource: &ConfigResource,
        key: &str,
        value: Option<&str>,
        delta: &mut Delta,
    ) -> Result<(), Inconsistent> {
        let configs = match resource {
            ConfigResource::Group(name) => {
                self.set_group_config(name, key, value);
                return Ok(());
            }
            ConfigResource::Topic(name) => {
                let topic = self
                    .names
                    .value(name.as_str())
                    .and_then(|id| self.topics.value_mut(id))
                    .ok_or_else(|| Inconsistent(format!("a value of the unknown topic {name}")))?;
                delta.topics.insert(topic.id);
                Arc::make_mut(&mut Arc::make_mut(topic).configs)
            }
            ConfigResource::Broker(node) => {
                delta.broker_configs = true;
                let all = Arc::make_mut(&mut self.broker_configs);
                all.entry(*node).or_default()
            }
            ConfigResource::Brokers => {
                delta.broker_configs = true;
                Arc::make_mut(&mut self.default_configs)
            }
        };
        match value {
            Some(value) => configs.insert(key.to_owned(), value.to_owned()),
            None => configs.remove(key),
        };
        Ok(())
    }

    fn set_group_config(&mut self, group: &str, key: &str, value: Option<&str>) {
        if self.group_configs.value(group).is_none() && value.is_some() {
            self.group_configs.insert(group.into(), Arc::default());
        }
        let Some(configs) = self.group_configs.value_mut(group) else {
            return;
        };
        let configs = Arc::make_mut(configs);
        match value {
            Some(value) => configs.insert(key.to_owned(), value.to_owned()),
            None => configs.remove(key),
        };
        if configs.is_empty() {
            self.group_configs.remove(group);
        }
    }

    /// The term of the newest entry.
    pub fn term(&self) -> u64 {
        self.term
    }

    /// The newest entry.
    pub fn index(&self) -> MetadataIndex {
        self.index
    }

    /// The cluster's id; `None` before the first entry.
    pub fn cluster_id(&self) -> Option<&str> {
        self.cluster_id.as_deref()
    }

    /// A topic by id.
    pub fn topic(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.topics.value(&id)
    }

    /// A topic by name.
    pub fn topic_named(&self, name: &str) -> Option<&Arc<Topic>> {
        self.names.value(name).and_then(|id| self.topics.value(id))
    }

    /// A topic whose name cannot be told from this one once `.` is `_`.
    pub fn topic_like(&self, name: &str) -> Option<&Arc<Topic>> {
        let blurred = blur(name);
        let id = self.names.value(blurred.as_ref());
        let id = id.or_else(|| self.blurred.value(blurred.as_ref()));
        id.and_then(|id| self.topics.value(id))
    }

    /// A partition.
    pub fn partition(&self, id: TopicId, index: PartitionIndex) -> Option<&Arc<PartitionRecord>> {
        let at = usize::try_from(index.0).ok()?;
        self.topic(id)?.partitions.get(at)
    }

    /// All topics, by id.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.topics.iter().map(|(_, topic)| topic)
    }

    /// All topics, by name.
    pub fn topics_by_name(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.names
            .iter()
            .filter_map(|(_, id)| self.topics.value(id))
    }

    /// The topics from a name on, by name.
    pub fn topics_from(&self, name: &str) -> impl Iterator<Item = &Arc<Topic>> {
        self.names
            .iter_from(name)
            .filter_map(|(_, id)| self.topics.value(id))
    }

    /// How many topics there are.
    pub fn topic_count(&self) -> usize {
        self.topics.count()
    }

    /// How many partitions there are.
    pub fn partition_count(&self) -> usize {
        self.partition_count
    }

    /// A broker.
    pub fn broker(&self, node: NodeId) -> Option<&Broker> {
        self.brokers.get(&node)
    }

    /// All brokers, by node.
    pub fn brokers(&self) -> impl Iterator<Item = &Broker> {
        self.brokers.values()
    }

    /// Brokers that may lead.
    pub fn live_brokers(&self) -> impl Iterator<Item = &Broker> {
        self.brokers
            .values()
            .filter(|broker| !broker.fenced && !broker.stopping)
    }

    /// Configured values of one broker.
    pub fn broker_configs(&self, node: NodeId) -> Option<&Configs> {
        self.broker_configs.get(&node)
    }

    /// Configured values of a consumer group, where it has any.
    pub fn group_configs(&self, group: &str) -> Option<&Configs> {
        let configs = self.group_configs.value(group)?;
        Some(configs)
    }

    /// The groups with configured values, by name.
    pub fn configured_groups(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<Configs>)> {
        self.group_configs.iter()
    }

    /// How many these are.
    pub fn configured_group_count(&self) -> usize {
        self.group_configs.count()
    }

    /// Configured values of all brokers that do not say otherwise.
    pub fn default_configs(&self) -> &Configs {
        &self.default_configs
    }

    /// min(`min.insync.replicas`, replicas), at least 1: the topic's value, else the cluster's, else 1.
    pub fn min_isr(&self, partition: &PartitionRecord) -> usize {
        const KEY: &str = "min.insync.replicas";
        let configured = self
            .topic(partition.topic)
            .and_then(|topic| topic.configs.get(KEY))
            .or_else(|| self.default_configs.get(KEY))
            .and_then(|value| value.parse().ok())
            .unwrap_or(1);
        partition.replicas.len().min(configured).max(1)
    }

    /// The first producer id that is not given away.
    pub fn next_producer_id(&self) -> i64 {
        self.next_producer_id
    }

    /// The members of the quorum.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Asserts the invariants.
    pub fn check(&self) {
        let mut partitions = 0;
        for topic in self.topics() {
            assert_eq!(self.names.value(&topic.name), Some(&topic.id));
            assert!(self.topic_like(&topic.name).is_some());
            partitions += topic.partitions.len();
            for (at, partition) in topic.partitions.iter().enumerate() {
                assert_eq!((partition.topic, partition.index.0), (topic.id, at as i32));
                let is_replica =
                    |node: &NodeId| partition.replicas.iter().any(|one| one.node == *node);
                assert!(partition.isr.iter().all(is_replica));
                assert!(partition.elr.iter().all(is_replica));
                assert!(
                    partition
                        .leader
                        .iter()
                        .all(|node| partition.isr.contains(node))
                );
                assert!(
                    !partition
                        .isr
                        .iter()
                        .any(|node| partition.elr.contains(node))
                );
                assert!(partition.leader_epoch >= LeaderEpoch(0));
            }
        }
        assert_eq!(partitions, self.partition_count);
        assert_eq!(self.names.count(), self.topics.count());
    }
}

/// A name with `.` as `_`.
pub(crate) fn blur(name: &str) -> Cow<'_, str> {
    if name.contains('.') {
        Cow::Owned(name.replace('.', "_"))
    } else {
        Cow::Borrowed(name)
    }
}
