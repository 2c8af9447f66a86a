//! Metadata: brokers, topics and leaders, as of the image (rules M1-M6).

use super::brokers::View;
use super::topic_names::{topic_id, uuid};
use super::topics::is_valid_name;
use crate::machine::image::{Image, PartitionRecord, Topic};
use millstream_net::wire::api::{
    MetadataPartition, MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataTopic,
};
use millstream_net::wire::{ErrorCode, Str, Uuid};
use millstream_storage::ids::NodeId;

/// An answer, and the topics it wants created.
#[derive(Debug)]
pub struct Answered {
    /// The answer.
    pub response: MetadataResponse,
    /// Names that nobody has yet and that may be created (rule M2).
    pub create: Vec<String>,
}

/// What a client without limits may do with the cluster and with a topic, as bits: there is no authorizer (rule M6).
pub mod operations {
    /// Create, alter, describe, act for the cluster, describe and alter configurations, write idempotently.
    pub const CLUSTER: i32 = 0b1_1111_1010_0000;
    /// Read, write, create, delete, alter, describe, describe and alter configurations.
    pub const TOPIC: i32 = 0b1101_1111_1000;
}

/// Answers a request.
pub fn answer(version: i16, request: &MetadataRequest, view: View<'_>) -> Answered {
    let image = view.image;
    let brokers: Vec<_> = view.brokers().collect();
    let mut create = Vec::new();
    let mut topics: Vec<_> = match &request.topics {
        Some(topics) if !(topics.is_empty() && version == 0) => topics
            .iter()
            .map(|asked| match &asked.name {
                _ if is_ahead(version, asked) => invalid(asked),
                _ if asked.topic_id != Uuid::ZERO => identified(asked.topic_id, image),
                Some(name) => named(name, request, view, &mut create),
                None => unknown(None, ErrorCode::UnknownTopicId),
            })
            .collect(),
        _ => image
            .topics_by_name()
            .map(|topic| describe(image, topic))
            .collect(),
    };
    if request.include_topic_authorized_operations {
        for topic in topics.iter_mut().filter(|topic| topic.name.is_some()) {
            topic.topic_authorized_operations = operations::TOPIC;
        }
    }
    let mut response = MetadataResponse {
        controller_id: brokers.first().map_or(-1, |_| view.settings.node.0),
        brokers,
        cluster_id: image.cluster_id().map(Str::from),
        topics,
        ..MetadataResponse::default()
    };
    if request.include_cluster_authorized_operations {
        response.cluster_authorized_operations = operations::CLUSTER;
    }
    Answered { response, create }
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

fn named(
    name: &Str,
    request: &MetadataRequest,
    view: View<'_>,
    create: &mut Vec<String>,
) -> MetadataTopic {
    let image = view.image;
    if let Some(topic) = image.topic_named(name) {
        return describe(image, topic);
    }
    if !is_valid_name(name) {
        return unknown(Some(name.clone()), ErrorCode::InvalidTopicException);
    }
    if !view.settings.auto_create_topics || !request.allow_auto_topic_creation {
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
