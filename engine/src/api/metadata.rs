//! Metadata: brokers, topics and leaders, as of the image (rules M1-M6).

use super::brokers::View;
use super::settings::Settings;
use super::topic_names::{topic_id, uuid};
use super::topics::is_valid_name;
use crate::machine::image::{Image, PartitionRecord, Topic};
use millstream_net::conn::ListenerIndex;
use millstream_net::wire::api::{
    MetadataPartition, MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataTopic,
};
use millstream_net::wire::{ApiKey, Elements, Encoded, ErrorCode, Str, Uuid};
use millstream_storage::ids::{MetadataIndex, NodeId};
use std::sync::Arc;

/// What a client without limits may do with the cluster and with a topic, as bits: there is no authorizer (rule M6).
pub mod operations {
    /// Create, alter, describe, act for the cluster, describe and alter configurations, write idempotently.
    pub const CLUSTER: i32 = 0b1_1111_1010_0000;
    /// Read, write, create, delete, alter, describe, describe and alter configurations.
    pub const TOPIC: i32 = 0b1101_1111_1000;
}

/// What a request asks for.
#[derive(Debug)]
enum Asked {
    /// All topics from this name on.
    All { from: Arc<str> },
    /// These, from the one of this index on.
    Topics {
        topics: Vec<MetadataRequestTopic>,
        next: usize,
    },
}

/// An answer as it comes together, piece by piece: with all topics of a cluster it is long. It tells of the image of its
/// beginning.
pub struct Listing {
    version: i16,
    image: Arc<Image>,
    asked: Asked,
    may_create: bool,
    with_topic_operations: bool,
    with_cluster_operations: bool,
    encoded: Encoded,
    create: Vec<String>,
}

/// What answers of the same topics have in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Common {
    version: i16,
    index: MetadataIndex,
    with_topic_operations: bool,
}

impl Listing {
    /// An answer in which nothing is yet.
    pub fn new(version: i16, request: MetadataRequest, image: &Arc<Image>) -> Listing {
        let asked = match request.topics {
            Some(topics) if !(topics.is_empty() && version == 0) => {
                Asked::Topics { topics, next: 0 }
            }
            _ => Asked::All { from: "".into() },
        };
        Listing {
            version,
            image: image.clone(),
            asked,
            may_create: request.allow_auto_topic_creation,
            with_topic_operations: request.include_topic_authorized_operations,
            with_cluster_operations: request.include_cluster_authorized_operations,
            encoded: Encoded::default(),
            create: Vec::new(),
        }
    }

    /// What its topics have in common with those of other answers, if it is about all topics.
    pub fn common(&self) -> Option<Common> {
        let is_all = matches!(self.asked, Asked::All { .. });
        is_all.then_some(Common {
            version: self.version,
            index: self.image.index(),
            with_topic_operations: self.with_topic_operations,
        })
    }

    /// Adds topics with some more than `partitions` partitions. Whether it has them all now.
    pub fn go_on(&mut self, settings: &Settings, partitions: usize) -> bool {
        let mut piece: Vec<MetadataTopic> = Vec::new();
        let mut left = partitions as isize;
        let image = &self.image;
        let is_whole = match &mut self.asked {
            Asked::All { from } => {
                let first = from.clone();
                let mut topics = image.topics_from(&first);
                loop {
                    let Some(topic) = topics.next() else {
                        break true;
                    };
                    if left <= 0 {
                        *from = topic.name.clone();
                        break false;
                    }
                    piece.push(describe(image, topic));
                    left -= 1 + topic.partitions.len() as isize;
                }
            }
            Asked::Topics { topics, next } => loop {
                let Some(asked) = topics.get(*next) else {
                    break true;
                };
                *next += 1;
                let topic = match &asked.name {
                    _ if is_ahead(self.version, asked) => invalid(asked),
                    _ if asked.topic_id != Uuid::ZERO => identified(asked.topic_id, image),
                    Some(name) => {
                        let auto_create = self.may_create && settings.auto_create_topics;
                        named(name, auto_create, image, &mut self.create)
                    }
                    None => unknown(None, ErrorCode::UnknownTopicId),
                };
                left -= 1 + topic.partitions.len() as isize;
                piece.push(topic);
                if left <= 0 {
                    break *next == topics.len();
                }
            },
        };
        if self.with_topic_operations {
            for topic in piece.iter_mut().filter(|topic| topic.name.is_some()) {
                topic.topic_authorized_operations = operations::TOPIC;
            }
        }
        let dialect = ApiKey::Metadata.api().dialect(self.version);
        self.encoded.push(&piece, dialect);
        is_whole
    }

    /// The topics in it, for answers that have them in common.
    pub fn encoded(&self) -> &Encoded {
        &self.encoded
    }

    /// The names that nobody has yet and that may be created (rule M2).
    pub fn take_create(&mut self) -> Vec<String> {
        std::mem::take(&mut self.create)
    }

    /// The answer, with these topics, for a client that came in on a listener.
    pub fn answer(
        &self,
        encoded: Encoded,
        settings: &Settings,
        listener: Option<ListenerIndex>,
    ) -> MetadataResponse {
        let view = View {
            image: &self.image,
            settings,
            listener,
        };
        let brokers: Vec<_> = view.brokers().collect();
        let mut response = MetadataResponse {
            controller_id: brokers.first().map_or(-1, |_| settings.node.0),
            brokers,
            cluster_id: self.image.cluster_id().map(Str::from),
            topics: Elements {
                list: Vec::new(),
                encoded,
            },
            ..MetadataResponse::default()
        };
        if self.with_cluster_operations {
            response.cluster_authorized_operations = operations::CLUSTER;
        }
        response
    }
}

/// Versions 10 and 11 have the field of the id, and only names in it.
fn is_ahead(version: i16, asked: &MetadataRequestTopic) -> bool {
    version < 12 && (asked.name.is_none() || asked.topic_id != Uuid::ZERO)
}

fn invalid(asked: &MetadataRequestTopic) -> MetadataTopic {
    MetadataTopic {
        topic_id: asked.topic_id,
        ..unknown(asked.name.clone(), ErrorCode::InvalidRequest)
    }
}

/// Rule M4: an id that nobody has comes back without a name.
fn identified(id: Uuid, image: &Image) -> MetadataTopic {
    match image.topic(topic_id(id)) {
        Some(topic) => describe(image, topic),
        None => MetadataTopic {
            topic_id: id,
            ..unknown(None, ErrorCode::UnknownTopicId)
        },
    }
}

fn named(name: &Str, auto_create: bool, image: &Image, create: &mut Vec<String>) -> MetadataTopic {
    if let Some(topic) = image.topic_named(name) {
        return describe(image, topic);
    }
    if !is_valid_name(name) {
        return unknown(Some(name.clone()), ErrorCode::InvalidTopicException);
    }
    if !auto_create {
        return unknown(Some(name.clone()), ErrorCode::UnknownTopicOrPartition);
    }
    if image.topic_like(name).is_some() {
        return unknown(Some(name.clone()), ErrorCode::InvalidTopicException);
    }
    create.push(name.to_string());
    unknown(Some(name.clone()), ErrorCode::LeaderNotAvailable)
}

fn unknown(name: Option<Str>, error_code: ErrorCode) -> MetadataTopic {
    MetadataTopic {
        error_code,
        name,
        ..MetadataTopic::default()
    }
}

fn describe(image: &Image, topic: &Topic) -> MetadataTopic {
    let partitions = topic.partitions.iter();
    MetadataTopic {
        error_code: ErrorCode::None,
        name: Some(Str::from(&*topic.name)),
        topic_id: uuid(topic.id),
        is_internal: topic.is_internal(),
        partitions: partitions
            .map(|one| describe_partition(image, one))
            .collect(),
        ..MetadataTopic::default()
    }
}

pub(super) fn describe_partition(image: &Image, partition: &PartitionRecord) -> MetadataPartition {
    let is_live = |node: NodeId| image.broker(node).is_some_and(|broker| !broker.fenced);
    let leader = partition.leader.filter(|leader| is_live(*leader));
    let replicas = || partition.replicas.iter().map(|replica| replica.node);
    MetadataPartition {
        // Rule M4.
        error_code: match leader {
            Some(_) => ErrorCode::None,
            None => ErrorCode::LeaderNotAvailable,
        },
        partition_index: partition.index.0,
        leader_id: leader.map_or(-1, |leader| leader.0),
        leader_epoch: partition.leader_epoch.0,
        replica_nodes: replicas().map(|node| node.0).collect(),
        isr_nodes: partition.isr.iter().map(|node| node.0).collect(),
        offline_replicas: replicas()
            .filter(|node| !is_live(*node))
            .map(|node| node.0)
            .collect(),
    }
}
