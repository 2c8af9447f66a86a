//! What the handlers are told of the broker's configuration.

use crate::machine::config_kind::Kind;
use crate::machine::group::GroupConfig;
use crate::machine::image::Image;
use crate::machine::topic_config::{BrokerValues, Values};
use millstream_storage::ids::NodeId;
use std::sync::Arc;

/// The settings of a node, the same for all its shards.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The node.
    pub node: NodeId,
    /// The names of the listeners, in the order of their configuration.
    pub listeners: Vec<String>,
    /// The largest answer to one fetch (`fetch.max.bytes`).
    pub fetch_max_bytes: usize,
    /// Fetch sessions of the node (`max.incremental.fetch.session.cache.slots`).
    pub fetch_sessions_max: usize,
    /// Partitions in one answer to DescribeTopicPartitions (`max.request.partition.size.limit`).
    pub described_partitions_max: usize,
    /// Whether asking for an unknown topic creates it (`auto.create.topics.enable`).
    pub auto_create_topics: bool,
    /// `producer.id.expiration.ms`.
    pub producer_expiration_ms: i64,
    /// What coordinators of groups go by.
    pub groups: Arc<GroupConfig>,
    /// Broker keys that were set at the start.
    pub broker_values: Values,
    /// Every broker key.
    pub broker_keys: Vec<BrokerKey>,
}

/// A broker key, as DescribeConfigs tells of it.
#[derive(Clone, Copy, Debug)]
pub struct BrokerKey {
    /// Its name.
    pub name: &'static str,
    /// The name its value is kept under; another one where this is an alias.
    pub kept_as: &'static str,
    /// Type and range.
    pub kind: Kind,
    /// The value of a key that nobody set; `None` where absence means something of its own.
    pub default: Option<&'static str>,
    /// What it does.
    pub doc: &'static str,
}

impl Settings {
    /// What the brokers say about topics that say nothing of their own.
    pub fn broker_values<'a>(&'a self, image: &'a Image) -> BrokerValues<'a> {
        BrokerValues {
            node: image.broker_configs(self.node),
            all: Some(image.default_configs()),
            start: &self.broker_values,
        }
    }
}
