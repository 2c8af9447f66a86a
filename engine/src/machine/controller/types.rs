//! What the controller is asked and what it answers.

use super::super::image::{Configs, Record};
use millstream_storage::ids::{MetadataIndex, NodeId, TopicId};

/// The asker's name for one request; it is answered exactly once under it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ask(pub u64);

/// Whether a request is carried out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Intent {
    /// It is.
    #[default]
    Execute,
    /// Every check runs, nothing is created (`validate_only`).
    Validate,
}

/// One topic to create.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// Partitions; -1 for the default, or with assignments.
    pub partitions: i32,
    /// Replicas; -1 for the default, or with assignments.
    pub replication_factor: i16,
    /// Which nodes hold which partition; empty: placed by the controller.
    pub assignments: Vec<(i32, Vec<NodeId>)>,
    /// Configured values.
    pub configs: Vec<(String, Option<String>)>,
}

/// Topics to create.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CreateTopics {
    /// The topics.
    pub topics: Vec<NewTopic>,
    /// Whether they are created.
    pub intent: Intent,
}

/// A topic that is created (or would be).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Created {
    /// Its id; none where it was only validated.
    pub id: TopicId,
    /// Its partitions.
    pub partitions: i32,
    /// Its replicas.
    pub replication_factor: i16,
    /// Its configured values.
    pub configs: Configs,
}

/// Partitions to add to a topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MorePartitions {
    /// The topic.
    pub name: String,
    /// How many it shall have then.
    pub count: i32,
    /// Which nodes hold the new ones; `None`: placed by the controller.
    pub assignments: Option<Vec<Vec<NodeId>>>,
}

/// Partitions to add.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AddPartitions {
    /// To which topics.
    pub topics: Vec<MorePartitions>,
    /// Whether they are added.
    pub intent: Intent,
}

/// What is to become of a value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// It is this from now on.
    Set(String),
    /// The topic says nothing of its own any more.
    Delete,
    /// A list has these words too.
    Append(String),
    /// A list has these words no more.
    Subtract(String),
}

/// What has values of its own that change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Altered {
    /// A topic, by name.
    Topic(String),
    /// A consumer group, by name. Its changes were judged by the node's ranges before.
    Group(String),
}

/// Values that are to change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Alteration {
    /// Whose.
    pub of: Altered,
    /// The changes by key.
    pub changes: Vec<(String, Change)>,
}

/// Which topic to delete.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TopicName {
    /// By name.
    Name(String),
    /// By id.
    Id(TopicId),
}

/// A topic that is deleted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deleted {
    /// Its id.
    pub id: TopicId,
    /// Its name.
    pub name: String,
}

/// Why something about a topic is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RefusalKind {
    /// [3]
    UnknownTopic,
    /// [100]
    UnknownTopicId,
    /// [17]
    InvalidTopicName,
    /// [36]
    TopicExists,
    /// [37]
    InvalidPartitions,
    /// [38]
    InvalidReplicationFactor,
    /// [39]
    InvalidReplicaAssignment,
    /// [40]
    InvalidConfig,
    /// [41] Another node decides now.
    NotController,
    /// [42]
    InvalidRequest,
    /// [44]
    PolicyViolation,
    /// [60]
    ReassignmentInProgress,
    /// [73] (DeleteTopics before v3: [42])
    DeletionDisabled,
}

/// A refusal with its text for the client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    /// Which.
    pub kind: RefusalKind,
    /// Why.
    pub message: String,
}

impl Refused {
    pub(super) fn new(kind: RefusalKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }
}

/// What was asked comes back with its name, in order.
pub type PerTopic<K, T> = Vec<(K, Result<T, Refused>)>;

/// An answer; what it tells is committed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// To CreateTopics.
    Created(PerTopic<String, Created>),
    /// To DeleteTopics.
    Deleted(PerTopic<TopicName, Deleted>),
    /// Producer ids nobody else gets: `count` from `first` on.
    ProducerIds {
        /// The first.
        first: i64,
        /// How many.
        count: i64,
    },
    /// To CreatePartitions.
    Grown(PerTopic<String, ()>),
    /// To IncrementalAlterConfigs.
    Configured(Vec<Result<(), Refused>>),
    /// This node does not decide (any more); whether it was done is not known.
    NotController,
}

/// What the composer must do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Propose one entry; it must become the entry of this index, or `lost` follows.
    Propose {
        /// Its index.
        index: MetadataIndex,
        /// Its records.
        records: Vec<Record>,
    },
    /// Topics that nobody asked for get fewer replicas than `default.replication.factor` says; told once.
    Capped {
        /// The factor of the configuration.
        wanted: i16,
        /// What they get.
        replicas: i16,
    },
    /// The answer to a request.
    Answer {
        /// Which.
        ask: Ask,
        /// The answer; the image that holds it is published first.
        answer: Answer,
    },
}
