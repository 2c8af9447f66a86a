//! Metadata: brokers, topics, partitions and their leaders.

use super::OPERATIONS_NOT_ASKED;
use crate::wire::{Elements, ErrorCode, Str, Uuid};

message! {
    /// Asks for topics, and the brokers with them.
    pub struct MetadataRequest {
        /// The topics. All: null from version 1, an empty list in version 0.
        topics: Option<Vec<MetadataRequestTopic>> => 0.., nullable 1..;
        /// Whether the broker may create a topic that is missing.
        allow_auto_topic_creation: bool = true => 4..;
        /// Whether to say what the client may do with the cluster.
        include_cluster_authorized_operations: bool => 8..=10;
        /// Whether to say what the client may do with each topic.
        include_topic_authorized_operations: bool => 8..;
    }

    /// A topic asked for, by id or by name.
    pub struct MetadataRequestTopic {
        /// The id; zero if asked for by name.
        topic_id: Uuid => 10..;
        /// The name; null if asked for by id.
        name: Option<Str> => 0.., nullable 10..;
    }

    /// Brokers and topics.
    pub struct MetadataResponse {
        /// How long the client is held back by a quota.
        throttle_time_ms: i32 => 3..;
        /// The brokers that are up.
        brokers: Vec<MetadataBroker> => 0..;
        /// The cluster's id.
        cluster_id: Option<Str> => 2..;
        /// A broker that takes changes of metadata.
        controller_id: i32 = -1 => 1..;
        /// The topics asked for.
        topics: Elements<MetadataTopic> => 0..;
        /// What the client may do with the cluster, as bits.
        cluster_authorized_operations: i32 = OPERATIONS_NOT_ASKED => 8..=10;
        /// The error of the request as a whole.
        error_code: ErrorCode => 13..;
    }

    /// A broker.
    pub struct MetadataBroker {
        /// Its node.
        node_id: i32 => 0..;
        /// Its advertised host, on the listener the request came in on.
        host: Str => 0..;
        /// Its advertised port there.
        port: i32 => 0..;
        /// Its rack.
        rack: Option<Str> => 1..;
    }

    /// A topic.
    pub struct MetadataTopic {
        /// The error, if it cannot be shown.
        error_code: ErrorCode => 0..;
        /// The name; null only for an id that is not known.
        name: Option<Str> => 0.., nullable 12..;
        /// The id.
        topic_id: Uuid => 10..;
        /// Whether the cluster keeps its own state in it.
        is_internal: bool => 1..;
        /// Its partitions.
        partitions: Elements<MetadataPartition> => 0..;
        /// What the client may do with it, as bits.
        topic_authorized_operations: i32 = OPERATIONS_NOT_ASKED => 8..;
    }

    /// A partition.
    pub struct MetadataPartition {
        /// The error, such as a missing leader.
        error_code: ErrorCode => 0..;
        /// The partition.
        partition_index: i32 => 0..;
        /// The node that leads; -1 for none.
        leader_id: i32 => 0..;
        /// The epoch it leads under; never goes back.
        leader_epoch: i32 = -1 => 7..;
        /// The nodes that shall have it.
        replica_nodes: Vec<i32> => 0..;
        /// The nodes that are in sync.
        isr_nodes: Vec<i32> => 0..;
        /// The nodes whose replica is not available.
        offline_replicas: Vec<i32> => 5..;
    }
}
