//! What a client knows of a cluster: brokers, topics, leaders.
//!
//! Always: a partition's leader epoch never goes back within one life of its topic.

use std::collections::BTreeMap;

use millstream_net::wire::api::{MetadataPartition, MetadataResponse, MetadataTopic};
use millstream_net::wire::{ErrorCode, Uuid};

use super::address::Address;

/// Brokers and topics as a broker last described them.
#[derive(Debug, Default)]
pub struct Cluster {
    /// The cluster's id.
    pub cluster_id: Option<String>,
    brokers: BTreeMap<i32, Address>,
    controller: Option<i32>,
    topics: BTreeMap<String, Topic>,
}

/// A topic.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Topic {
    /// Why it cannot be used, if so.
    pub error: ErrorCode,
    /// Its id; zero where the broker does not say it.
    pub id: Uuid,
    /// Whether the cluster keeps its own state in it.
    pub is_internal: bool,
    /// Its partitions.
    pub partitions: BTreeMap<i32, Partition>,
}

/// A partition.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Partition {
    /// The node that leads.
    pub leader: Option<i32>,
    /// The epoch it leads under; -1 where the broker does not say it.
    pub leader_epoch: i32,
    /// The nodes that shall have it.
    pub replicas: Vec<i32>,
    /// The nodes that are in sync.
    pub isr: Vec<i32>,
}

impl Cluster {
    /// Takes a description. Topics that it does not name stay as they are.
    pub fn apply(&mut self, metadata: &MetadataResponse) {
        let brokers = metadata.brokers.iter().filter_map(|broker| {
            let port = u16::try_from(broker.port).ok()?;
            Some((
                broker.node_id,
                Address {
                    host: broker.host.as_str().to_owned(),
                    port,
                },
            ))
        });
        self.brokers = brokers.collect();
        self.controller = Some(metadata.controller_id).filter(|node| *node >= 0);
        self.cluster_id = metadata
            .cluster_id
            .as_ref()
            .map(|id| id.as_str().to_owned());
        for topic in &metadata.topics {
            if let Some(name) = &topic.name {
                self.apply_topic(name, topic);
            }
        }
    }

    fn apply_topic(&mut self, name: &str, described: &MetadataTopic) {
        let mut before = self.topics.remove(name).unwrap_or_default();
        if before.id != described.topic_id {
            before.partitions.clear();
        }
        let partitions = described.partitions.iter().map(|described| {
            let old = before.partitions.remove(&described.partition_index);
            (described.partition_index, newer(old, described))
        });
        let topic = Topic {
            error: described.error_code,
            id: described.topic_id,
            is_internal: described.is_internal,
            partitions: partitions.collect(),
        };
        self.topics.insert(name.to_owned(), topic);
    }

    /// All brokers.
    pub fn brokers(&self) -> &BTreeMap<i32, Address> {
        &self.brokers
    }

    /// All topics ever described.
    pub fn topics(&self) -> &BTreeMap<String, Topic> {
        &self.topics
    }

    /// A topic.
    pub fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.get(name)
    }

    /// Forgets all topics, before all are asked for.
    pub fn forget_topics(&mut self) {
        self.topics.clear();
    }

    /// Where changes of metadata go.
    pub fn controller(&self) -> Option<&Address> {
        self.brokers.get(&self.controller?)
    }

    /// Where a partition's leader is, and its epoch.
    pub fn leader(&self, topic: &str, partition: i32) -> Option<(&Address, i32)> {
        let partition = self.topics.get(topic)?.partitions.get(&partition)?;
        Some((
            self.brokers.get(&partition.leader?)?,
            partition.leader_epoch,
        ))
    }
}

fn newer(old: Option<Partition>, described: &MetadataPartition) -> Partition {
    match old {
        Some(old) if old.leader_epoch > described.leader_epoch && described.leader_epoch >= 0 => {
            old
        }
        _ => Partition {
            leader: Some(described.leader_id).filter(|node| *node >= 0),
            leader_epoch: described.leader_epoch,
            replicas: described.replica_nodes.clone(),
            isr: described.isr_nodes.clone(),
        },
    }
}
