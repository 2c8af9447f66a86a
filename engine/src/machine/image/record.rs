//! Metadata records: results with absolute values.

use millstream_storage::ids::{
    BrokerEpoch, DirectoryId, LeaderEpoch, MetadataIndex, NodeId, PartitionIndex, TopicId,
};
use std::sync::Arc;

/// One replica of a partition: a node and the directory it is in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Replica {
    /// The node.
    pub node: NodeId,
    /// The directory on it.
    pub directory: DirectoryId,
}

/// Where a broker can be reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// Name of the listener.
    pub listener: String,
    /// Host as advertised.
    pub host: String,
    /// Port as advertised.
    pub port: u16,
    /// Security protocol: Kafka's number (0 plaintext, 1 TLS, 2 SASL, 3 SASL over TLS).
    pub protocol: i16,
}

/// A directory a broker vouches for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Directory {
    /// Its random id.
    pub id: DirectoryId,
    /// Its start number: raised and synced at every start, before registration.
    pub start: u64,
}

/// One start of a broker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Registration {
    /// The node.
    pub node: NodeId,
    /// Its directories.
    pub directories: Vec<Directory>,
    /// Its listeners.
    pub endpoints: Vec<Endpoint>,
    /// Its rack.
    pub rack: Option<String>,
    /// Logs it cannot vouch for: damaged ones.
    pub suspects: Vec<(TopicId, PartitionIndex)>,
    /// `None` in an entry: the epoch is its index. In a snapshot the epoch.
    pub epoch: Option<BrokerEpoch>,
    /// In a snapshot: directories of earlier registrations that this one did not have.
    pub former: Vec<Directory>,
}

/// A partition, complete.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionRecord {
    /// Its topic.
    pub topic: TopicId,
    /// Its number.
    pub index: PartitionIndex,
    /// Its replicas, the preferred leader first.
    pub replicas: Vec<Replica>,
    /// In sync.
    pub isr: Vec<NodeId>,
    /// Eligible leaders outside of the ISR.
    pub elr: Vec<NodeId>,
    /// Who was in sync when neither ISR nor ELR was left.
    pub last_known: Vec<NodeId>,
    /// Its leader.
    pub leader: Option<NodeId>,
    /// Raised with every leader and every registration of the leader.
    pub leader_epoch: LeaderEpoch,
    /// Raised with every change.
    pub partition_epoch: i32,
    /// Since this epoch the consequences of an election that was not clean last.
    pub recovering: Option<LeaderEpoch>,
    /// Replicas being added.
    pub adding: Vec<NodeId>,
    /// Replicas being removed.
    pub removing: Vec<NodeId>,
}

/// What a configured key belongs to.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ConfigResource {
    /// A topic, by name.
    Topic(String),
    /// A broker.
    Broker(NodeId),
    /// All brokers that do not say otherwise.
    Brokers,
    /// A consumer group, by name; it need not exist.
    Group(String),
}

/// One record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Record {
    /// The cluster's id; in the first entry.
    Cluster {
        /// Stable and not empty.
        id: String,
    },
    /// A broker has started.
    Registration(Registration),
    /// Whether a registered broker may lead and be in sync.
    BrokerState {
        /// The node.
        node: NodeId,
        /// Its incarnation.
        epoch: BrokerEpoch,
        /// Its session has ended.
        fenced: bool,
        /// It is about to stop.
        stopping: bool,
    },
    /// A topic; its partitions follow.
    Topic {
        /// Its id, never reused.
        id: TopicId,
        /// Its name.
        name: String,
    },
    /// A partition.
    Partition(Arc<PartitionRecord>),
    /// A topic is gone, with its partitions and configuration.
    RemovedTopic {
        /// Its id.
        id: TopicId,
    },
    /// A configured value.
    Config {
        /// Whose.
        resource: ConfigResource,
        /// Kafka's name of the key.
        key: String,
        /// `None`: back to the default.
        value: Option<String>,
    },
    /// All producer ids below `next` are given away.
    ProducerIds {
        /// The first that is not.
        next: i64,
    },
}

/// A voter or learner of the quorum.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Member {
    /// Its id in the quorum: made from its directory id, used once.
    pub id: u64,
    /// Its node.
    pub node: NodeId,
    /// Whether it votes.
    pub voter: bool,
}

/// What an entry carries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Payload {
    /// A batch of records, applied and published whole.
    Records(Vec<Record>),
    /// The members of the quorum.
    Membership(Vec<Member>),
    /// Nothing: the first entry of a term.
    Blank,
}

/// One entry of the metadata log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The term of the leader that wrote it.
    pub term: u64,
    /// Its place.
    pub index: MetadataIndex,
    /// What it carries.
    pub payload: Payload,
}

/// The image as of an entry, as records.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// The term of that entry.
    pub term: u64,
    /// Its place.
    pub index: MetadataIndex,
    /// The members of the quorum.
    pub members: Arc<[Member]>,
    /// The entry that set them.
    pub members_index: MetadataIndex,
    /// Everything.
    pub records: Vec<Record>,
}
