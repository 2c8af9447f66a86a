//! What the handlers are told of the broker's configuration.

use crate::machine::topic_config::Values;
use millstream_storage::ids::NodeId;

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
    /// Whether asking for an unknown topic creates it (`auto.create.topics.enable`).
    pub auto_create_topics: bool,
    /// `producer.id.expiration.ms`.
    pub producer_expiration_ms: i64,
    /// Values of topic keys for topics that say nothing of their own.
    pub topic_defaults: Values,
}
